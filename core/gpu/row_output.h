// SPDX-License-Identifier: Apache-2.0
// For kernels whose rows a product takes next: writes four neighbouring values in its type.
#ifndef CORE_GPU_ROW_OUTPUT_H_
#define CORE_GPU_ROW_OUTPUT_H_

#include "core/gpu/device.h"
#include "core/gpu/kernels.h"

namespace paligemma::gpu {

constexpr float kLargestInt8 = 127.0f, kSmallestMaximum = 1e-30f;

__device__ __forceinline__ float MaxOf(float4 v) {
  return fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w)));
}

// The scale of an int8 row whose largest magnitude is `most`.
__device__ __forceinline__ float Int8Scale(float most) {
  return fmaxf(most, kSmallestMaximum) / kLargestInt8;
}

// The values 4 * vector to 4 * vector + 3 of a row; `scale` is used by int8 alone.
template <Type kType>
__device__ __forceinline__ void StoreFour(void* row, int vector, float4 v, float scale) {
  if constexpr (kType == Type::kFloat32) {
    static_cast<float4*>(row)[vector] = v;
  } else if constexpr (kType == Type::kBfloat16) {
    static_cast<uint2*>(row)[vector] = make_uint2(PackBf16(v.x, v.y), PackBf16(v.z, v.w));
  } else {
    static_cast<char4*>(row)[vector] =
        make_char4(static_cast<signed char>(__float2int_rn(v.x / scale)),
                   static_cast<signed char>(__float2int_rn(v.y / scale)),
                   static_cast<signed char>(__float2int_rn(v.z / scale)),
                   static_cast<signed char>(__float2int_rn(v.w / scale)));
  }
}

// The row `row` of rows of `width` values.
template <Type kType>
__device__ __forceinline__ void* RowOf(const ProductRows& rows, int row, int width) {
  return static_cast<char*>(rows.values) + std::size_t(row) * width * SizeOf(kType);
}

}  // namespace paligemma::gpu

#endif  // CORE_GPU_ROW_OUTPUT_H_
