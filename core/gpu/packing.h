// SPDX-License-Identifier: Apache-2.0
// The order of a weight matrix on the device, the same for skinny and for big products and for
// every chip. The matrix is cut into tiles of 64 outputs by 128 bytes of inputs (64 bf16, 128
// int8), 8 KB each, all tiles of the same outputs one after the other. A tile holds its 64 rows of
// 128 bytes; the 16-byte chunk c of row r lies at place c ^ (r % 8). Shared memory then has no bank
// conflicts when ldmatrix reads a tile that was copied as it is, and the tensor cores of sm_90 take
// the tile as K-major with a swizzle of 128 bytes. What does not fill a tile is zero.
#ifndef CORE_GPU_PACKING_H_
#define CORE_GPU_PACKING_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "core/gpu/kernels.h"

namespace paligemma::gpu {

constexpr int kTileOutputs = 64, kTileRowBytes = 128, kChunkBytes = 16;
constexpr int kTileBytes = kTileOutputs * kTileRowBytes;

__host__ __device__ constexpr int CeilDiv(int a, int b) { return (a + b - 1) / b; }

// Tiles along the inputs, and along the outputs.
__host__ __device__ constexpr int StepsOf(int row_bytes) {
  return CeilDiv(row_bytes, kTileRowBytes);
}
__host__ __device__ constexpr int PanelsOf(int outputs) { return CeilDiv(outputs, kTileOutputs); }

// Where the byte `byte` of the row of `output` lies.
__host__ __device__ constexpr std::size_t PackedOffset(int output, int byte, int steps) {
  const int row = output % kTileOutputs, chunk = byte % kTileRowBytes / kChunkBytes;
  const std::size_t tile =
      std::size_t(output / kTileOutputs) * steps + std::size_t(byte / kTileRowBytes);
  return tile * kTileBytes + std::size_t(row) * kTileRowBytes + (chunk ^ row % 8) * kChunkBytes +
         byte % kChunkBytes;
}

// The size of a packed matrix in bytes.
std::size_t PackedBytes(Type type, int outputs, int inputs);

// Packs the panels [first_panel, last_panel) of a canonical matrix on the host, so that threads can
// share the work. `packed` holds the whole matrix. REQUIRES: type is not float32.
void PackPanels(Type type, const void* canonical, int outputs, int inputs, int first_panel,
                int last_panel, void* packed);

}  // namespace paligemma::gpu

#endif  // CORE_GPU_PACKING_H_
