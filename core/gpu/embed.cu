// SPDX-License-Identifier: Apache-2.0
#include "core/gpu/device.h"
#include "core/gpu/kernels.h"
#include "core/gpu/packing.h"

namespace paligemma::gpu {
namespace {

constexpr int kThreads = 128;

// One value of a row of the table.
template <Type kType>
__device__ float TableValue(const void* table, int row, int column, int width) {
  if constexpr (kType == Type::kFloat32) {
    return static_cast<const float*>(table)[std::size_t(row) * width + column];
  } else {
    const int steps = StepsOf(width * SizeOf(kType));
    const char* at =
        static_cast<const char*>(table) + PackedOffset(row, column * SizeOf(kType), steps);
    if constexpr (kType == Type::kBfloat16) {
      return __bfloat162float(*reinterpret_cast<const __nv_bfloat16*>(at));
    }
    return *reinterpret_cast<const signed char*>(at);
  }
}

template <Type kType>
__global__ void __launch_bounds__(kThreads) EmbedKernel(EmbedArguments a) {
  WaitForPredecessor();
  const int row = static_cast<int>(blockIdx.x), id = a.ids[row];
  float* h = a.h + std::size_t(row) * a.width;
  if (id < 0 && a.num_image_rows > 0) {
    const int image_row = min(-(id + 1), a.num_image_rows - 1);
    const float* image = a.image_rows + std::size_t(image_row) * a.width;
    for (int i = static_cast<int>(threadIdx.x); i < a.width; i += kThreads) h[i] = image[i];
    return;
  }
  const int token = max(0, min(id, a.vocab - 1));
  const float scale = static_cast<float>(a.scale);
  for (int i = static_cast<int>(threadIdx.x); i < a.width; i += kThreads) {
    const float value = TableValue<kType>(a.table, token, i, a.width);
    if constexpr (kType == Type::kFloat32) {
      h[i] = value * scale;
    } else if constexpr (kType == Type::kBfloat16) {  // the product is of the table's type
      const float rounded = __bfloat162float(__float2bfloat16_rn(scale));
      h[i] = __bfloat162float(__float2bfloat16_rn(value * rounded));
    } else {
      h[i] = value * a.table_scale[token] * scale;
    }
  }
}

}  // namespace

cudaError_t Embed(const EmbedArguments& a, cudaStream_t stream) {
  const auto kernel = a.type == Type::kFloat32    ? EmbedKernel<Type::kFloat32>
                      : a.type == Type::kBfloat16 ? EmbedKernel<Type::kBfloat16>
                                                  : EmbedKernel<Type::kInt8>;
  return Launch(kernel, dim3(a.rows), kThreads, 0, stream, a);
}

}  // namespace paligemma::gpu
