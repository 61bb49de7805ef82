// SPDX-License-Identifier: Apache-2.0
// Attention of cached rows over paged keys and values. A block is one part of one row's keys, for
// one key head and up to four query heads that share it: keys and values are read once for them.
// The parts are fixed by the row's own length. The last block of a row's heads to finish joins them
// in their order.
#include "core/gpu/device.h"
#include "core/gpu/kernels.h"
#include "core/gpu/packing.h"

namespace paligemma::gpu {
namespace {

constexpr int kWarps = 4, kThreads = kWarps * kWarp;
constexpr int kLanesOfKey = 8, kKeysOfWarp = kWarp / kLanesOfKey;  // that read a key together
constexpr int kMaxDim = 256, kVector = 8;
constexpr int kVectorsOfLane = kMaxDim / kVector / kLanesOfKey;
constexpr int kMaxGroup = 4;  // query heads of a block; more spill registers
constexpr float kNever = -1e30f;

template <int kGroup>
struct Shared {
  float scores[kGroup][kKeysOfPart];
  float sums[kWarps][kGroup][kMaxDim];
  float most[kGroup], total[kGroup];
  bool last;
};

// The values 8 vector to 8 vector + 7 of a page row.
template <Type kType>
__device__ __forceinline__ void LoadEight(const void* pages, const float* scales, std::size_t row,
                                          int dim, int vector, float (&to)[kVector]) {
  const char* at =
      static_cast<const char*>(pages) + (row * dim + std::size_t(vector) * kVector) * SizeOf(kType);
  if constexpr (kType == Type::kFloat32) {
    const float4 a = reinterpret_cast<const float4*>(at)[0];
    const float4 b = reinterpret_cast<const float4*>(at)[1];
    to[0] = a.x, to[1] = a.y, to[2] = a.z, to[3] = a.w;
    to[4] = b.x, to[5] = b.y, to[6] = b.z, to[7] = b.w;
  } else if constexpr (kType == Type::kBfloat16) {
    const uint4 v = *reinterpret_cast<const uint4*>(at);
    const std::uint32_t words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) to[2 * i] = LowBf16(words[i]), to[2 * i + 1] = HighBf16(words[i]);
  } else {
    const uint2 v = *reinterpret_cast<const uint2*>(at);
    const float scale = scales[row];
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      const auto byte = static_cast<signed char>((i < 4 ? v.x : v.y) >> (8 * (i % 4)));
      to[i] = static_cast<float>(byte) * scale;
    }
  }
}

// The query heads of a block.
struct Heads {
  int kv_head, first, count;
  __device__ explicit Heads(const DecodeAttentionArguments& a) {
    const int group = a.heads / a.pages.kv_heads, sets = CeilDiv(group, kMaxGroup);
    const int set = static_cast<int>(blockIdx.y) % sets;
    kv_head = static_cast<int>(blockIdx.y) / sets;
    first = kv_head * group + set * kMaxGroup;
    count = min(kMaxGroup, group - set * kMaxGroup);
  }
};

// Where the position `key` of the row lies in the pages.
__device__ __forceinline__ std::size_t PageRow(const DecodeAttentionArguments& a, int row,
                                               int kv_head, int key) {
  const int size = a.pages.block_size;
  const std::size_t block = a.block_table[std::size_t(row) * a.table_width + key / size];
  return (block * a.pages.kv_heads + kv_head) * size + key % size;
}

// The scores of the part's keys.
template <Type kType, int kGroup>
__device__ void Score(const DecodeAttentionArguments& a, int row, const Heads& heads, int first,
                      int count, Shared<kGroup>* shared) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp,
            warp = static_cast<int>(threadIdx.x) / kWarp;
  const int dim = a.pages.head_dim, vectors = dim / kVector, member = lane % kLanesOfKey;
  float q[kGroup][kVectorsOfLane][kVector];
#pragma unroll
  for (int g = 0; g < kGroup; ++g) {
#pragma unroll
    for (int i = 0; i < kVectorsOfLane; ++i) {
      const int vector = i * kLanesOfKey + member;
#pragma unroll
      for (int j = 0; j < kVector; ++j) {
        const bool valid = g < heads.count && vector < vectors;
        q[g][i][j] = valid ? a.q[std::size_t(row) * a.q_stride +
                                 std::size_t(heads.first + g) * dim + vector * kVector + j]
                           : 0;
      }
    }
  }
  for (int base = warp * kKeysOfWarp; base < count; base += kWarps * kKeysOfWarp) {
    const int key = base + lane / kLanesOfKey;
    float sums[kGroup] = {};
    if (key < count) {
      const std::size_t at = PageRow(a, row, heads.kv_head, first + key);
#pragma unroll
      for (int i = 0; i < kVectorsOfLane; ++i) {
        const int vector = i * kLanesOfKey + member;
        if (vector >= vectors) continue;
        float k[kVector];
        LoadEight<kType>(a.pages.keys, a.pages.key_scales, at, dim, vector, k);
#pragma unroll
        for (int g = 0; g < kGroup; ++g) {
#pragma unroll
          for (int j = 0; j < kVector; ++j) sums[g] = fmaf(q[g][i][j], k[j], sums[g]);
        }
      }
    }
#pragma unroll
    for (int g = 0; g < kGroup; ++g) {
      for (int step = kLanesOfKey / 2; step > 0; step /= 2) {
        sums[g] += __shfl_xor_sync(~0u, sums[g], step);
      }
      float score = sums[g] * a.scale;
      if (a.softcap > 0) score = tanhf(score / a.softcap) * a.softcap;
      if (member == 0 && key < count && g < heads.count) shared->scores[g][key] = score;
    }
  }
}

// Scores become weights, exp(score - most); one warp a query head.
template <int kGroup>
__device__ void Weigh(int group, int count, Shared<kGroup>* shared) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int g = static_cast<int>(threadIdx.x) / kWarp; g < group; g += kWarps) {
    float most = kNever;
    for (int key = lane; key < count; key += kWarp) most = fmaxf(most, shared->scores[g][key]);
    most = WarpMax(most);
    float total = 0;
    for (int key = lane; key < count; key += kWarp) {
      const float weight = expf(shared->scores[g][key] - most);
      shared->scores[g][key] = weight;
      total += weight;
    }
    total = WarpSum(total);
    if (lane == 0) {
      shared->most[g] = most;
      shared->total[g] = total;
    }
  }
}

// The weighted sums of the values: each warp takes every fourth key, then the warps' sums meet.
template <Type kType, int kGroup>
__device__ void Mix(const DecodeAttentionArguments& a, int row, const Heads& heads, int first,
                    int count, Shared<kGroup>* shared) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp,
            warp = static_cast<int>(threadIdx.x) / kWarp;
  const int dim = a.pages.head_dim;
  if (lane * kVector < dim) {
    float sums[kGroup][kVector] = {};
    for (int key = warp; key < count; key += kWarps) {
      float v[kVector];
      LoadEight<kType>(a.pages.values, a.pages.value_scales,
                       PageRow(a, row, heads.kv_head, first + key), dim, lane, v);
#pragma unroll
      for (int g = 0; g < kGroup; ++g) {
        const float weight = g < heads.count ? shared->scores[g][key] : 0;
#pragma unroll
        for (int j = 0; j < kVector; ++j) sums[g][j] = fmaf(weight, v[j], sums[g][j]);
      }
    }
#pragma unroll
    for (int g = 0; g < kGroup; ++g) {
#pragma unroll
      for (int j = 0; j < kVector; ++j) shared->sums[warp][g][lane * kVector + j] = sums[g][j];
    }
  }
}

// A part in the workspace: for each of the block's heads the sums, then `most` and `total`.
__device__ __forceinline__ float* PartOf(const DecodeAttentionArguments& a, int row, int part) {
  const std::size_t number = (std::size_t(row) * gridDim.y + blockIdx.y) * gridDim.x + part;
  const int heads = min(a.heads / a.pages.kv_heads, kMaxGroup);
  return a.partial + number * heads * (a.pages.head_dim + 2);
}

__device__ void JoinParts(const DecodeAttentionArguments& a, int row, int heads, int parts,
                          float* out) {
  const int dim = a.pages.head_dim;
  for (int i = static_cast<int>(threadIdx.x); i < heads * dim; i += kThreads) {
    const int g = i / dim;
    float most = kNever;
    for (int part = 0; part < parts; ++part) {
      const float* from = PartOf(a, row, part) + g * (dim + 2);
      most = fmaxf(most, __ldcg(from + dim));
    }
    float sum = 0, total = 0;
    for (int part = 0; part < parts; ++part) {
      const float* from = PartOf(a, row, part) + g * (dim + 2);
      const float weight = expf(__ldcg(from + dim) - most);
      sum = fmaf(weight, __ldcg(from + i % dim), sum);
      total = fmaf(weight, __ldcg(from + dim + 1), total);
    }
    out[i] = sum / total;
  }
}

template <Type kType, int kGroup>
__global__ void __launch_bounds__(kThreads) DecodeAttentionKernel(DecodeAttentionArguments a) {
  PG_SHARED(Shared<kGroup>, shared);
  WaitForPredecessor();
  const int part = static_cast<int>(blockIdx.x);
  const Heads heads(a);
  const int row = static_cast<int>(blockIdx.z), tid = static_cast<int>(threadIdx.x);
  const int group = heads.count, dim = a.pages.head_dim;
  const int end = a.context[row], begin = a.window > 0 ? max(0, end - a.window) : 0;
  const int parts = CeilDiv(end - begin, kKeysOfPart);
  float* out = a.out + (std::size_t(row) * a.heads + heads.first) * dim;
  if (end == 0 && part == 0) {
    for (int i = tid; i < group * dim; i += kThreads) out[i] = 0;
  }
  if (part >= parts) return;
  const int first = begin + part * kKeysOfPart, count = min(kKeysOfPart, end - first);
  Score<kType>(a, row, heads, first, count, &shared);
  __syncthreads();
  Weigh(group, count, &shared);
  __syncthreads();
  Mix<kType>(a, row, heads, first, count, &shared);
  __syncthreads();
  LetSuccessorStart();
  float* own = PartOf(a, row, part);
  for (int i = tid; i < group * dim; i += kThreads) {
    const int g = i / dim;
    float sum = 0;
    for (int warp = 0; warp < kWarps; ++warp) sum += shared.sums[warp][g][i % dim];
    if (parts == 1) {
      out[i] = sum / shared.total[g];
    } else {
      own[g * (dim + 2) + i % dim] = sum;
    }
  }
  if (parts == 1) return;
  if (tid < group) {
    own[tid * (dim + 2) + dim] = shared.most[tid];
    own[tid * (dim + 2) + dim + 1] = shared.total[tid];
  }
  __syncthreads();
  unsigned* arrived = &a.arrived[row * gridDim.y + blockIdx.y];
  if (tid == 0) {
    __threadfence();  // the part comes before its count
    shared.last = atomicAdd(arrived, 1u) == static_cast<unsigned>(parts) - 1;
    __threadfence();  // the count comes before the other parts
  }
  __syncthreads();
  if (!shared.last) return;
  JoinParts(a, row, group, parts, out);
  if (tid == 0) atomicExch(arrived, 0u);
}

// Sets of query heads, a block each.
int SetsOf(int heads, int kv_heads) { return kv_heads * CeilDiv(heads / kv_heads, kMaxGroup); }

int MaxParts(int table_positions) { return max(1, CeilDiv(table_positions, kKeysOfPart)); }

template <Type kType>
cudaError_t LaunchAttention(const DecodeAttentionArguments& a, cudaStream_t stream) {
  const dim3 grid(MaxParts(a.table_width * a.pages.block_size), SetsOf(a.heads, a.pages.kv_heads),
                  a.rows);
  const auto launch = [&](auto kernel, std::size_t shared) {
    return Launch(kernel, grid, kThreads, shared, stream, a);
  };
  const int group = a.heads / a.pages.kv_heads;
  if (group == 1) return launch(DecodeAttentionKernel<kType, 1>, sizeof(Shared<1>));
  if (group == 2) return launch(DecodeAttentionKernel<kType, 2>, sizeof(Shared<2>));
  return launch(DecodeAttentionKernel<kType, kMaxGroup>, sizeof(Shared<kMaxGroup>));
}

}  // namespace

ProductWorkspace DecodeAttentionWorkspace(int rows, int heads, int head_dim, int max_context,
                                          int kv_heads) {
  const std::size_t sets = std::size_t(rows) * SetsOf(heads, kv_heads);
  const std::size_t values = std::size_t(min(heads / kv_heads, kMaxGroup)) * (head_dim + 2);
  return {sets * MaxParts(max_context) * values * sizeof(float), sets};
}

cudaError_t DecodeAttention(const DecodeAttentionArguments& a, cudaStream_t stream) {
  const Pages& pages = a.pages;
  if (a.heads % pages.kv_heads != 0 || pages.head_dim % kVector != 0 || pages.head_dim > kMaxDim) {
    return cudaErrorInvalidValue;
  }
  switch (pages.type) {
    case Type::kFloat32:
      return LaunchAttention<Type::kFloat32>(a, stream);
    case Type::kBfloat16:
      return LaunchAttention<Type::kBfloat16>(a, stream);
    case Type::kInt8:
      return LaunchAttention<Type::kInt8>(a, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace paligemma::gpu
