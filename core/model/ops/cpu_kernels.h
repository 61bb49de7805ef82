// SPDX-License-Identifier: Apache-2.0
// The operators on core/cpu's kernels, for matrices that were packed for them; whatever else comes
// (canonical matrices, adapters, 8-bit pages) goes to the reference kernel of the same operator.
// Norms, quantisation, RoPE, page writes and gates are done row by row while the row is in the
// cache. Arguments and results: kernels.h. A row's result depends neither on the other rows nor on
// the number of threads.
#ifndef CORE_MODEL_OPS_CPU_KERNELS_H_
#define CORE_MODEL_OPS_CPU_KERNELS_H_

#include "core/model/ops/kernels.h"

namespace paligemma::ops {

// cpu_decoder.cc
Tensors2 CpuAttention(const AttentionArgs& args);
Tensors2 CpuMlp(const MlpArgs& args);

// cpu_vision.cc
Tensor CpuVisionAttention(const VisionAttentionArgs& args);
Tensor CpuVisionMlp(const VisionMlpArgs& args);
Tensor CpuProject(const ProjectArgs& args);

}  // namespace paligemma::ops

#endif  // CORE_MODEL_OPS_CPU_KERNELS_H_
