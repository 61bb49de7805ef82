// SPDX-License-Identifier: Apache-2.0
// Few rows: weights are read once, 16 bytes a lane, straight into the fragments of the tensor
// cores. The outputs are the matrix units' rows and the activations their columns, so that up to 8
// rows cost one instruction. A block is 64 outputs, 16 a warp, and one part of the inputs. Where a
// matrix is split into parts, the last block to finish adds their sums in the order of the parts,
// whatever the timing and the number of rows.
//
// A lane loads whole 16-byte chunks, so its registers hold neighbouring inputs, where the matrix
// instruction wants pairs that lie apart. That is a permutation of the inputs inside a tile, and x
// is brought into the same one: a product does not mind.
#include "core/gpu/device.h"
#include "core/gpu/kernels.h"
#include "core/gpu/packing.h"

namespace paligemma::gpu {
namespace {

constexpr int kWarps = 4, kThreads = kWarps * kWarp;
constexpr int kAhead = 2;           // tiles whose weights a lane has in flight, four loads each
constexpr int kStage = 8;           // tiles whose part of x lies in shared memory
constexpr int kMaxRows = 64;        // of a block
constexpr int kWantedBlocks = 264;  // two for each multiprocessor of the largest chip
constexpr int kLeastSteps = 4;      // tiles of a part
constexpr int kChunks = kTileRowBytes / kChunkBytes;
static_assert(kStage % kAhead == 0);

template <int kRowTiles>
struct Shared {
  uint2 x[kStage][2][2][kRowTiles][kWarp];  // fragments: half of the tile's inputs, instruction
  bool last;
};

__device__ float Finished(const ProductArguments&, float sum, int, int) { return sum; }
__device__ float Finished(const ProductArguments& a, int sum, int row, int output) {
  return static_cast<float>(sum) * a.x.scale[row] * a.w_scale[output];
}

// Rows row0 to row0 + 8 kRowTiles of x, the tiles [first, first + count), into shared memory.
template <int kRowTiles>
__device__ void StageRows(const ProductArguments& a, int row_bytes, int row0, int first, int count,
                          Shared<kRowTiles>* shared) {
  const auto* x = static_cast<const char*>(a.x.values);
  for (int i = static_cast<int>(threadIdx.x); i < count * kRowTiles * 8 * kChunks; i += kThreads) {
    const int chunk = i % kChunks, row = i / kChunks % (kRowTiles * 8);
    const int step = i / (kChunks * kRowTiles * 8);
    const int byte = (first + step) * kTileRowBytes + chunk * kChunkBytes;
    uint4 v = make_uint4(0, 0, 0, 0);
    if (row0 + row < a.rows && byte < row_bytes) {
      v = *reinterpret_cast<const uint4*>(x + std::size_t(row0 + row) * row_bytes + byte);
    }
    const int lane = row % 8 * 4 + chunk % 4;
    shared->x[step][chunk / 4][0][row / 8][lane] = make_uint2(v.x, v.y);
    shared->x[step][chunk / 4][1][row / 8][lane] = make_uint2(v.z, v.w);
  }
}

// Adds the parts' sums in order; the block whose count was the last.
template <typename Sum>
__device__ void AddParts(const ProductArguments& a, const Sum* partial, int row0, int rows) {
  const int splits = static_cast<int>(gridDim.y);
  const std::size_t part = std::size_t(gridDim.x) * kTileOutputs * kMaxRows;
  for (int i = static_cast<int>(threadIdx.x); i < kTileOutputs * rows; i += kThreads) {
    const int output = static_cast<int>(blockIdx.x) * kTileOutputs + i % kTileOutputs;
    const int row = i / kTileOutputs;
    if (output >= a.outputs) continue;
    Sum sum = 0;
    for (int split = 0; split < splits; ++split) {
      sum += __ldcg(&partial[split * part + std::size_t(output) * kMaxRows + row]);
    }
    a.y[std::size_t(row0 + row) * a.outputs + output] = Finished(a, sum, row0 + row, output);
  }
}

template <typename Sum, int kRowTiles>
__global__ void __launch_bounds__(kThreads, kRowTiles < 8 ? 4 : 2)
    SkinnyKernel(ProductArguments a, int row_bytes) {
  PG_SHARED(Shared<kRowTiles>, shared);
  const int tid = static_cast<int>(threadIdx.x), lane = tid % kWarp, warp = tid / kWarp;
  const int group = lane / 4, pair = lane % 4;
  const int steps = StepsOf(row_bytes), splits = static_cast<int>(gridDim.y);
  const int split = static_cast<int>(blockIdx.y), row0 = static_cast<int>(blockIdx.z) * kMaxRows;
  const int first = steps * split / splits, last = steps * (split + 1) / splits;

  // The lane's chunks of the tile `step`: halves of the inputs by outputs `group` and group + 8.
  const uint4* w = static_cast<const uint4*>(a.w) +
                   std::size_t(blockIdx.x) * steps * (kTileBytes / kChunkBytes) +
                   (warp * 16 + group) * kChunks;
  const auto load = [&](int step, uint4(&to)[2][2]) {
    const uint4* tile = w + std::size_t(step) * (kTileBytes / kChunkBytes);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int place = (half * 4 + pair) ^ group;
      to[half][0] = LoadStreaming(tile + place);
      to[half][1] = LoadStreaming(tile + 8 * kChunks + place);
    }
  };
  // Weights do not wait for the kernel before.
  uint4 ahead[kAhead][2][2];
#pragma unroll
  for (int i = 0; i < kAhead; ++i) {
    if (first + i < last) load(first + i, ahead[i]);
  }
  WaitForPredecessor();

  Sum sums[kRowTiles][4] = {};
  for (int stage = first; stage < last; stage += kStage) {
    const int count = min(kStage, last - stage);
    if (stage > first) __syncthreads();  // before the rows of the stage before are overwritten
    StageRows<kRowTiles>(a, row_bytes, row0, stage, count, &shared);
    __syncthreads();
    for (int base = 0; base < count; base += kAhead) {
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        if (base + i >= count) continue;
        const int step = stage + base + i;
        uint4 own[2][2] = {{ahead[i][0][0], ahead[i][0][1]}, {ahead[i][1][0], ahead[i][1][1]}};
        if (step + kAhead < last) load(step + kAhead, ahead[i]);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const uint4 low = own[half][0], high = own[half][1];
          const std::uint32_t fragments[2][4] = {{low.x, high.x, low.y, high.y},
                                                 {low.z, high.z, low.w, high.w}};
#pragma unroll
          for (int which = 0; which < 2; ++which) {
#pragma unroll
            for (int tile = 0; tile < kRowTiles; ++tile) {
              const uint2 x = shared.x[base + i][half][which][tile][lane];
              const std::uint32_t b[2] = {x.x, x.y};
              Mma(sums[tile], fragments[which], b);
            }
          }
        }
      }
    }
  }
  LetSuccessorStart();

  auto* partial = static_cast<Sum*>(a.partial) +
                  std::size_t(blockIdx.z) * splits * gridDim.x * kTileOutputs * kMaxRows;
  Sum* own_part = partial + std::size_t(split) * gridDim.x * kTileOutputs * kMaxRows;
  const int rows = min(a.rows - row0, kRowTiles * 8);
#pragma unroll
  for (int tile = 0; tile < kRowTiles; ++tile) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int output =
          static_cast<int>(blockIdx.x) * kTileOutputs + warp * 16 + group + i / 2 * 8;
      const int row = tile * 8 + pair * 2 + i % 2;
      if (row >= rows || output >= a.outputs) continue;
      if (splits == 1) {
        a.y[std::size_t(row0 + row) * a.outputs + output] =
            Finished(a, sums[tile][i], row0 + row, output);
      } else {
        own_part[std::size_t(output) * kMaxRows + row] = sums[tile][i];
      }
    }
  }
  if (splits == 1) return;
  __syncthreads();
  unsigned* arrived = &a.arrived[blockIdx.z * gridDim.x + blockIdx.x];
  if (tid == 0) {
    __threadfence();  // the block's sums come before its count
    shared.last = atomicAdd(arrived, 1u) == gridDim.y - 1;
    __threadfence();  // the count comes before the other blocks' sums
  }
  __syncthreads();
  if (!shared.last) return;
  AddParts<Sum>(a, partial, row0, rows);
  if (tid == 0) atomicExch(arrived, 0u);
}

template <typename Sum>
cudaError_t LaunchSkinny(const ProductArguments& a, int row_bytes, cudaStream_t stream) {
  const dim3 grid(PanelsOf(a.outputs), a.splits, CeilDiv(a.rows, kMaxRows));
  const auto launch = [&](auto kernel, std::size_t shared) {
    return Launch(kernel, grid, kThreads, shared, stream, a, row_bytes);
  };
  if (a.rows <= 8) return launch(SkinnyKernel<Sum, 1>, sizeof(Shared<1>));
  if (a.rows <= 16) return launch(SkinnyKernel<Sum, 2>, sizeof(Shared<2>));
  if (a.rows <= 32) return launch(SkinnyKernel<Sum, 4>, sizeof(Shared<4>));
  return launch(SkinnyKernel<Sum, 8>, sizeof(Shared<8>));
}

// Products in float32, one term after the other.
constexpr int kFloatRows = 8, kFloatInputs = 32, kFloatThreads = 128;

struct FloatShared {
  float w[kTileOutputs][kFloatInputs + 1];  // odd rows: no bank conflicts
  float x[kFloatRows][kFloatInputs];
};

__global__ void __launch_bounds__(kFloatThreads) FloatKernel(ProductArguments a) {
  PG_SHARED(FloatShared, shared);
  constexpr int kOwnRows = kFloatRows * kTileOutputs / kFloatThreads;
  const int tid = static_cast<int>(threadIdx.x), own = tid % kTileOutputs;
  const int own_row = tid / kTileOutputs * kOwnRows;
  const int output0 = static_cast<int>(blockIdx.x) * kTileOutputs;
  const int row0 = static_cast<int>(blockIdx.y) * kFloatRows;
  const auto* w = static_cast<const float*>(a.w);
  const auto* x = static_cast<const float*>(a.x.values);
  WaitForPredecessor();
  float sums[kOwnRows] = {};
  for (int first = 0; first < a.inputs; first += kFloatInputs) {
    __syncthreads();  // before the tile before is overwritten
    for (int i = tid; i < kTileOutputs * kFloatInputs; i += kFloatThreads) {
      const int output = i / kFloatInputs, input = i % kFloatInputs;
      const bool inside = output0 + output < a.outputs && first + input < a.inputs;
      shared.w[output][input] =
          inside ? w[std::size_t(output0 + output) * a.inputs + first + input] : 0;
    }
    for (int i = tid; i < kFloatRows * kFloatInputs; i += kFloatThreads) {
      const int row = i / kFloatInputs, input = i % kFloatInputs;
      const bool inside = row0 + row < a.rows && first + input < a.inputs;
      shared.x[row][input] = inside ? x[std::size_t(row0 + row) * a.inputs + first + input] : 0;
    }
    __syncthreads();
    for (int input = 0; input < kFloatInputs; ++input) {
#pragma unroll
      for (int i = 0; i < kOwnRows; ++i) {
        sums[i] = fmaf(shared.w[own][input], shared.x[own_row + i][input], sums[i]);
      }
    }
  }
  LetSuccessorStart();
  for (int i = 0; i < kOwnRows; ++i) {
    const int row = row0 + own_row + i, output = output0 + own;
    if (row < a.rows && output < a.outputs) a.y[std::size_t(row) * a.outputs + output] = sums[i];
  }
}

}  // namespace

int SkinnySplits(Type type, int outputs, int inputs) {
  const int steps = StepsOf(inputs * SizeOf(type));
  return max(1, min(CeilDiv(kWantedBlocks, PanelsOf(outputs)), steps / kLeastSteps));
}

ProductWorkspace SkinnyWorkspace(Type type, int rows, int outputs, int splits) {
  if (type == Type::kFloat32 || splits == 1) return {};
  const std::size_t groups = CeilDiv(rows, kMaxRows), panels = PanelsOf(outputs);
  return {groups * splits * panels * kTileOutputs * kMaxRows * sizeof(float), groups * panels};
}

cudaError_t FloatProduct(const ProductArguments& a, cudaStream_t stream) {
  return Launch(FloatKernel, dim3(PanelsOf(a.outputs), CeilDiv(a.rows, kFloatRows)), kFloatThreads,
                sizeof(FloatShared), stream, a);
}

cudaError_t SkinnyProduct(const ProductArguments& a, cudaStream_t stream) {
  const int row_bytes = a.inputs * SizeOf(a.x.type);
  if (row_bytes % kChunkBytes != 0 || a.splits < 1 || a.splits > StepsOf(row_bytes)) {
    return cudaErrorInvalidValue;
  }
  switch (a.x.type) {
    case Type::kFloat32:
      return FloatProduct(a, stream);
    case Type::kBfloat16:
      return LaunchSkinny<float>(a, row_bytes, stream);
    case Type::kInt8:
      return LaunchSkinny<int>(a, row_bytes, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace paligemma::gpu
