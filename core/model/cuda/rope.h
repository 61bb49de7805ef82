// SPDX-License-Identifier: Apache-2.0
// Launchers of CUDA kernels: plain CUDA types, so that .cu files see no ATen.
#ifndef CORE_MODEL_CUDA_ROPE_H_
#define CORE_MODEL_CUDA_ROPE_H_

#include <cuda_runtime_api.h>

namespace paligemma::cuda {

// positions [rows] -> out f32 [rows, head_dim]: cosines, then sines, of
// position / theta^(2i/head_dim). Asynchronous on `stream`. REQUIRES: rows > 0, head_dim even.
cudaError_t LaunchRope(const int* positions, int rows, int head_dim, double theta, float* out,
                       cudaStream_t stream);

}  // namespace paligemma::cuda

#endif  // CORE_MODEL_CUDA_ROPE_H_
