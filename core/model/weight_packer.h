// SPDX-License-Identifier: Apache-2.0
// A module's weight matrices: says what they are, and puts them into the order of the CPU kernels.
// Internal to core/model.
#ifndef CORE_MODEL_WEIGHT_PACKER_H_
#define CORE_MODEL_WEIGHT_PACKER_H_

#include <torch/csrc/jit/api/module.h>

#include <vector>

#include "core/cpu/context.h"
#include "core/model/mapped_module.h"
#include "core/model/ops/matrix.h"

namespace paligemma {

// The exporter's Matrix, with the buffers `data`, `scale` and `aux`, and the encoding of its
// values.
struct NamedMatrix {
  torch::jit::Module module;
  ops::Encoding encoding;
};

// Writes into each `aux` what the operators must know of a matrix. REQUIRES: canonical matrices.
void DescribeMatrices(const std::vector<NamedMatrix>& matrices);

// Packs the matrices one after the other, letting go of each one's pages in `file` at once, so that
// no two copies of the model exist at any time. Leaves matrices that no kernel takes, and all of
// them for Isa::kReference.
void PackWeights(const FileMapping& file, const cpu::Context& context,
                 const std::vector<NamedMatrix>& matrices);

}  // namespace paligemma

#endif  // CORE_MODEL_WEIGHT_PACKER_H_
