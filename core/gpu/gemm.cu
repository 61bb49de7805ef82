// SPDX-License-Identifier: Apache-2.0
// Many rows: prompts and images. A block is 128 rows by 64 outputs, 32 rows a warp. Tiles of both
// matrices come by asynchronous copies, kStages of them in flight, 128 bytes of inputs at a time;
// the weights' tile is copied as it lies. Each sum runs over the inputs in their order, so a row's
// bits depend on no other row. mma.sync of sm_80, which later chips run too.
#include "core/gpu/device.h"
#include "core/gpu/kernels.h"
#include "core/gpu/packing.h"

namespace paligemma::gpu {
namespace {

constexpr int kRows = 128, kWarps = 4, kThreads = kWarps * kWarp, kStages = 3;
constexpr int kRowsOfWarp = kRows / kWarps, kRowTiles = kRowsOfWarp / 16;
constexpr int kOutputTiles = kTileOutputs / 8, kChunks = kTileRowBytes / kChunkBytes;

struct Shared {
  alignas(1024) char x[kStages][kRows][kTileRowBytes];
  char w[kStages][kTileOutputs][kTileRowBytes];
};

// Where the chunk `chunk` of a tile's row lies: as in packing.h.
__device__ __forceinline__ int PlaceOf(int row, int chunk) {
  return (chunk ^ row % 8) * kChunkBytes;
}

__device__ __forceinline__ void CopyTiles(const ProductArguments& a, int row_bytes, int row0,
                                          int step, char (*x)[kTileRowBytes],
                                          char (*w)[kTileRowBytes]) {
  const auto* rows = static_cast<const char*>(a.x.values);
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kChunks; i += kThreads) {
    const int row = i / kChunks, chunk = i % kChunks;
    const int byte = step * kTileRowBytes + chunk * kChunkBytes;
    const bool valid = row0 + row < a.rows && byte < row_bytes;
    CopyAsync(&x[row][PlaceOf(row, chunk)],
              rows + (valid ? std::size_t(row0 + row) * row_bytes + byte : 0), valid);
  }
  const char* tile = static_cast<const char*>(a.w) +
                     (std::size_t(blockIdx.x) * StepsOf(row_bytes) + step) * kTileBytes;
  for (int i = static_cast<int>(threadIdx.x); i < kTileBytes / kChunkBytes; i += kThreads) {
    CopyAsync(&w[0][0] + i * kChunkBytes, tile + std::size_t(i) * kChunkBytes, true);
  }
}

// Adds the products of one tile.
template <typename Sum>
__device__ __forceinline__ void MultiplyTiles(const char (*x)[kTileRowBytes],
                                              const char (*w)[kTileRowBytes],
                                              Sum (&sums)[kRowTiles][kOutputTiles][4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int row0 = static_cast<int>(threadIdx.x) / kWarp * kRowsOfWarp;
#pragma unroll
  for (int pair = 0; pair < kChunks; pair += 2) {  // two chunks are one instruction's inputs
    std::uint32_t rows[kRowTiles][4];
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i) {
      const int row = row0 + i * 16 + lane % 16;
      LoadMatrix(rows[i], &x[row][PlaceOf(row, pair + lane / 16)]);
    }
#pragma unroll
    for (int j = 0; j < kOutputTiles; j += 2) {
      std::uint32_t outputs[4];
      const int output = j * 8 + lane % 8 + lane / 16 * 8;
      LoadMatrix(outputs, &w[output][PlaceOf(output, pair + lane / 8 % 2)]);
      const std::uint32_t first[2] = {outputs[0], outputs[1]}, second[2] = {outputs[2], outputs[3]};
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i) {
        Mma(sums[i][j], rows[i], first);
        Mma(sums[i][j + 1], rows[i], second);
      }
    }
  }
}

__device__ float Finished(const ProductArguments&, float sum, int, int) { return sum; }
__device__ float Finished(const ProductArguments& a, int sum, int row, int output) {
  return static_cast<float>(sum) * a.x.scale[row] * a.w_scale[output];
}

template <typename Sum>
__global__ void __launch_bounds__(kThreads) GemmKernel(ProductArguments a, int row_bytes) {
  PG_SHARED(Shared, shared);
  const int row0 = static_cast<int>(blockIdx.y) * kRows, steps = StepsOf(row_bytes);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  WaitForPredecessor();
#pragma unroll
  for (int step = 0; step < kStages - 1; ++step) {
    if (step < steps) CopyTiles(a, row_bytes, row0, step, shared.x[step], shared.w[step]);
    CommitCopies();
  }
  Sum sums[kRowTiles][kOutputTiles][4] = {};
  for (int step = 0; step < steps; ++step) {
    WaitCopies<kStages - 2>();
    __syncthreads();  // the tile is there, and the one before it was read
    const int next = step + kStages - 1, place = next % kStages;
    if (next < steps) CopyTiles(a, row_bytes, row0, next, shared.x[place], shared.w[place]);
    CommitCopies();
    MultiplyTiles(shared.x[step % kStages], shared.w[step % kStages], sums);
  }
  LetSuccessorStart();
#pragma unroll
  for (int i = 0; i < kRowTiles; ++i) {
#pragma unroll
    for (int j = 0; j < kOutputTiles; ++j) {
#pragma unroll
      for (int v = 0; v < 4; ++v) {
        const int row = row0 + warp * kRowsOfWarp + i * 16 + lane / 4 + v / 2 * 8;
        const int output =
            static_cast<int>(blockIdx.x) * kTileOutputs + j * 8 + lane % 4 * 2 + v % 2;
        if (row < a.rows && output < a.outputs) {
          a.y[std::size_t(row) * a.outputs + output] = Finished(a, sums[i][j][v], row, output);
        }
      }
    }
  }
}

}  // namespace

cudaError_t Gemm(const ProductArguments& a, cudaStream_t stream) {
  const int row_bytes = a.inputs * SizeOf(a.x.type);
  if (row_bytes % kChunkBytes != 0) return cudaErrorInvalidValue;
  const dim3 grid(PanelsOf(a.outputs), CeilDiv(a.rows, kRows));
  switch (a.x.type) {
    case Type::kFloat32:
      return FloatProduct(a, stream);
    case Type::kBfloat16:
      return Launch(GemmKernel<float>, grid, kThreads, sizeof(Shared), stream, a, row_bytes);
    case Type::kInt8:
      return Launch(GemmKernel<int>, grid, kThreads, sizeof(Shared), stream, a, row_bytes);
  }
  return cudaErrorInvalidValue;
}

}  // namespace paligemma::gpu
