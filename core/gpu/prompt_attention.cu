// SPDX-License-Identifier: Apache-2.0
// Attention of prompts, and of images, to all of themselves. A block is 64 queries of one head, 16
// a warp; keys and values come in tiles of 32 by asynchronous copies, one tile ahead. The order of
// a row's sums depends on the length of its own prompt alone.
#include "core/gpu/device.h"
#include "core/gpu/kernels.h"
#include "core/gpu/packing.h"

namespace paligemma::gpu {
namespace {

constexpr int kQueries = 64, kKeys = 32, kThreads = kQueries / 16 * kWarp;
constexpr float kLog2E = 1.44269504f, kNever = -1e30f;

// kPadded: the size of a head, padded to whole matrix instructions.
template <int kPadded>
struct Shared {
  static constexpr int kStride = kPadded + 8;  // odd in 16-byte steps: no bank conflicts
  static_assert(kPadded % 16 == 0);
  __nv_bfloat16 q[kQueries][kStride];
  __nv_bfloat16 k[2][kKeys][kStride], v[2][kKeys][kStride];
};

// One prompt's rows of one head.
struct HeadRows {
  const __nv_bfloat16* first;
  std::size_t stride;
  int tokens, dim;
};

// The rows [first, first + kRows), zeros past the last row and past the head's size.
template <int kPadded, int kRows>
__device__ void CopyRows(const HeadRows& head, int first,
                         __nv_bfloat16 (*to)[Shared<kPadded>::kStride]) {
  constexpr int kChunks = kPadded / 8;
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kChunks; i += kThreads) {
    const int row = i / kChunks, column = i % kChunks * 8;
    const bool valid = first + row < head.tokens && column < head.dim;
    CopyAsync(&to[row][column], head.first + (valid ? (first + row) * head.stride + column : 0),
              valid);
  }
}

// A warp's 16 queries against one tile: scores in base 2, capped; keys past the end never count.
template <int kPadded>
__device__ void ScoreTile(const Shared<kPadded>& shared, int now, int first_key, int tokens,
                          float scale, float cap, float (&scores)[kKeys / 8][4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp,
            warp = static_cast<int>(threadIdx.x) / kWarp;
#pragma unroll
  for (int step = 0; step < kPadded; step += 16) {
    std::uint32_t q[4];
    LoadMatrix(q, &shared.q[warp * 16 + lane % 16][step + lane / 16 * 8]);
#pragma unroll
    for (int pair = 0; pair < kKeys / 16; ++pair) {
      std::uint32_t k[4];
      LoadMatrix(k, &shared.k[now][pair * 16 + lane % 8 + lane / 16 * 8][step + lane / 8 % 2 * 8]);
      const std::uint32_t low[2] = {k[0], k[1]}, high[2] = {k[2], k[3]};
      Mma(scores[pair * 2], q, low);
      Mma(scores[pair * 2 + 1], q, high);
    }
  }
#pragma unroll
  for (int i = 0; i < kKeys / 8; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int key = first_key + i * 8 + lane % 4 * 2 + j % 2;
      const float scaled = scores[i][j] * scale;
      const float score = cap > 0 ? cap * FastTanh(scaled) : scaled;
      scores[i][j] = key < tokens ? score : kNever;
    }
  }
}

// Scores become weights; what was summed before shrinks to the new maximum of its row.
template <int kPadded>
__device__ void WeighTile(float (&scores)[kKeys / 8][4], float (&most)[2], float (&total)[2],
                          float (&out)[kPadded / 8][4]) {
#pragma unroll
  for (int row = 0; row < 2; ++row) {
    float now_most = most[row];
#pragma unroll
    for (int i = 0; i < kKeys / 8; ++i) {
      now_most = fmaxf(now_most, fmaxf(scores[i][row * 2], scores[i][row * 2 + 1]));
    }
    now_most = fmaxf(now_most, __shfl_xor_sync(~0u, now_most, 1));
    now_most = fmaxf(now_most, __shfl_xor_sync(~0u, now_most, 2));
    const float factor = exp2f(most[row] - now_most);
    most[row] = now_most;
    total[row] *= factor;
#pragma unroll
    for (int i = 0; i < kPadded / 8; ++i) {
      out[i][row * 2] *= factor;
      out[i][row * 2 + 1] *= factor;
    }
#pragma unroll
    for (int i = 0; i < kKeys / 8; ++i) {
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const float weight = exp2f(scores[i][row * 2 + j] - now_most);
        scores[i][row * 2 + j] = weight;
        total[row] += weight;
      }
    }
  }
}

// Adds the tile's values, weighted.
template <int kPadded>
__device__ void MixTile(const Shared<kPadded>& shared, int now, const float (&scores)[kKeys / 8][4],
                        float (&out)[kPadded / 8][4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int pair = 0; pair < kKeys / 16; ++pair) {
    const float(&low)[4] = scores[pair * 2], (&high)[4] = scores[pair * 2 + 1];
    const std::uint32_t weights[4] = {PackBf16(low[0], low[1]), PackBf16(low[2], low[3]),
                                      PackBf16(high[0], high[1]), PackBf16(high[2], high[3])};
#pragma unroll
    for (int i = 0; i < kPadded / 8; i += 2) {
      std::uint32_t v[4];
      LoadMatrixTransposed(v, &shared.v[now][pair * 16 + lane % 16][i * 8 + lane / 16 * 8]);
      const std::uint32_t left[2] = {v[0], v[1]}, right[2] = {v[2], v[3]};
      Mma(out[i], weights, left);
      Mma(out[i + 1], weights, right);
    }
  }
}

template <int kPadded>
__global__ void __launch_bounds__(kThreads) PromptAttentionKernel(PromptAttentionArguments a) {
  PG_SHARED(Shared<kPadded>, shared);
  WaitForPredecessor();
  const int lane = static_cast<int>(threadIdx.x) % kWarp,
            warp = static_cast<int>(threadIdx.x) / kWarp;
  const int head = static_cast<int>(blockIdx.y), kv_head = head / (a.heads / a.kv_heads);
  const int start = a.starts[blockIdx.z], tokens = a.starts[blockIdx.z + 1] - start;
  const int query0 = static_cast<int>(blockIdx.x) * kQueries;
  if (query0 >= tokens) return;
  const std::size_t row0 = std::size_t(start) * a.stride;
  const auto rows = [&](const void* values, int which) {
    return HeadRows{static_cast<const __nv_bfloat16*>(values) + row0 + std::size_t(which) * a.dim,
                    static_cast<std::size_t>(a.stride), tokens, a.dim};
  };
  const HeadRows queries = rows(a.q, head), keys = rows(a.k, kv_head), values = rows(a.v, kv_head);
  CopyRows<kPadded, kQueries>(queries, query0, shared.q);
  CopyRows<kPadded, kKeys>(keys, 0, shared.k[0]);
  CopyRows<kPadded, kKeys>(values, 0, shared.v[0]);
  CommitCopies();

  float out[kPadded / 8][4] = {};
  float most[2] = {kNever, kNever}, total[2] = {0, 0};  // of the rows lane / 4 and lane / 4 + 8
  const float cap = a.softcap > 0 ? a.softcap * kLog2E : 0;
  const float scale = a.softcap > 0 ? a.scale / a.softcap : a.scale * kLog2E;
  const int tiles = CeilDiv(tokens, kKeys);
  for (int tile = 0; tile < tiles; ++tile) {
    const int now = tile % 2;
    if (tile + 1 < tiles) {
      CopyRows<kPadded, kKeys>(keys, (tile + 1) * kKeys, shared.k[1 - now]);
      CopyRows<kPadded, kKeys>(values, (tile + 1) * kKeys, shared.v[1 - now]);
    }
    CommitCopies();
    WaitCopies<1>();
    __syncthreads();
    float scores[kKeys / 8][4] = {};
    ScoreTile<kPadded>(shared, now, tile * kKeys, tokens, scale, cap, scores);
    WeighTile<kPadded>(scores, most, total, out);
    MixTile<kPadded>(shared, now, scores, out);
    __syncthreads();  // before the next copies take this tile's place
  }
  LetSuccessorStart();
#pragma unroll
  for (int row = 0; row < 2; ++row) {
    float sum = total[row];
    sum += __shfl_xor_sync(~0u, sum, 1);
    sum += __shfl_xor_sync(~0u, sum, 2);
    const int query = query0 + warp * 16 + lane / 4 + row * 8;
    if (query >= tokens) continue;
    auto* to =
        static_cast<__nv_bfloat16*>(a.out) + (std::size_t(start + query) * a.heads + head) * a.dim;
#pragma unroll
    for (int i = 0; i < kPadded / 8; ++i) {
      const int column = i * 8 + lane % 4 * 2;
      if (column < a.dim) {
        *reinterpret_cast<std::uint32_t*>(to + column) =
            PackBf16(out[i][row * 2] / sum, out[i][row * 2 + 1] / sum);
      }
    }
  }
}

}  // namespace

cudaError_t PromptAttention(const PromptAttentionArguments& a, cudaStream_t stream) {
  if (a.heads % a.kv_heads != 0 || a.dim % 8 != 0 || a.stride % 8 != 0)
    return cudaErrorInvalidValue;
  const dim3 grid(CeilDiv(a.longest, kQueries), a.heads, a.prompts);
  const auto launch = [&](auto kernel, std::size_t shared) {
    return Launch(kernel, grid, kThreads, shared, stream, a);
  };
  if (a.dim <= 32) return launch(PromptAttentionKernel<32>, sizeof(Shared<32>));
  if (a.dim <= 80) return launch(PromptAttentionKernel<80>, sizeof(Shared<80>));
  if (a.dim <= 128) return launch(PromptAttentionKernel<128>, sizeof(Shared<128>));
  if (a.dim <= 256) return launch(PromptAttentionKernel<256>, sizeof(Shared<256>));
  return cudaErrorInvalidValue;
}

}  // namespace paligemma::gpu
