// SPDX-License-Identifier: Apache-2.0
#include "core/model/cuda/rope.h"

namespace paligemma::cuda {
namespace {

// One block a row, one thread a frequency. Roundings as in the reference kernel: exponent,
// frequency and angle in f32, cosine and sine in f64.
__global__ void RopeKernel(const int* positions, int head_dim, double theta, float* out) {
  const int half = head_dim / 2;
  float* row = out + static_cast<long long>(blockIdx.x) * head_dim;
  const float position = static_cast<float>(positions[blockIdx.x]);
  for (int i = threadIdx.x; i < half; i += blockDim.x) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    const float power = static_cast<float>(pow(theta, static_cast<double>(exponent)));
    const float frequency = 1.0f / power;
    const float angle = position * frequency;
    double sine = 0, cosine = 0;
    sincos(static_cast<double>(angle), &sine, &cosine);
    row[i] = static_cast<float>(cosine);
    row[half + i] = static_cast<float>(sine);
  }
}

}  // namespace

cudaError_t LaunchRope(const int* positions, int rows, int head_dim, double theta, float* out,
                       cudaStream_t stream) {
  RopeKernel<<<rows, 128, 0, stream>>>(positions, head_dim, theta, out);
  return cudaGetLastError();
}

}  // namespace paligemma::cuda
