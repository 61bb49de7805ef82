// SPDX-License-Identifier: Apache-2.0
#include "core/model/ops/packed.h"

#include <ATen/ops/empty.h>
#include <sys/mman.h>

#include <algorithm>

#include "core/cpu/kernels.h"
#include "core/cpu/product.h"

namespace paligemma::ops {
namespace {

constexpr std::uintptr_t kHugePage = 2 << 20;

// Fewer address translations while weights stream by: 5 to 8 % of the bandwidth. Only a wish.
void PreferHugePages(const at::Tensor& tensor) {
  const auto address = reinterpret_cast<std::uintptr_t>(tensor.const_data_ptr());
  const std::uintptr_t begin = (address + kHugePage - 1) & ~(kHugePage - 1);
  const std::uintptr_t end = (address + tensor.nbytes()) & ~(kHugePage - 1);
  if (end > begin) {
    ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
  }
}

}  // namespace

bool CanPack(const at::Tensor& data, const at::Tensor& scale, Encoding encoding) {
  if (data.dim() != 2 || !data.is_cpu() || !data.is_contiguous() || data.numel() == 0 ||
      data.scalar_type() != TypeOf(encoding)) {
    return false;
  }
  // Scales in float32, which earlier exporters wrote, and other groups are the reference's.
  return encoding != Encoding::kInt4 ||
         (scale.scalar_type() == at::kBFloat16 && scale.is_contiguous() && scale.dim() == 2 &&
          scale.size(0) == data.size(0) && scale.size(1) * cpu::kInt4Group == 2 * data.size(1));
}

PackedTensors Pack(const cpu::Context& context, const at::Tensor& data, const at::Tensor& scale,
                   Encoding encoding) {
  const bool int4 = encoding == Encoding::kInt4;
  Description description = DescribeCanonical(data, encoding);
  description.layout = Layout::kCpuPanels;
  cpu::PlainMatrix plain{encoding, description.outputs, description.inputs, data.const_data_ptr()};
  if (int4) {
    plain.group_scales = static_cast<const std::uint16_t*>(scale.const_data_ptr());
  }
  const std::int64_t panels = cpu::NumPanels(plain.outputs);
  const std::int64_t output_bytes = 4 * cpu::WordsPerStep(encoding) / cpu::kPanel;
  const std::int64_t num_sums = encoding == Encoding::kInt8 ? panels * cpu::kPanel : 0;
  PackedTensors packed;
  packed.data = at::empty({panels, cpu::NumSteps(encoding, plain.inputs), cpu::kPanel,
                           output_bytes / data.element_size()},
                          data.options());
  packed.scale = int4 ? at::empty({0}, data.options().dtype(at::kFloat)) : scale;
  PreferHugePages(packed.data);
  packed.aux = MakeAux(description, num_sums);
  auto* sums = packed.aux.mutable_data_ptr<std::int32_t>() + Description::kNumbers;
  auto* words = static_cast<std::uint32_t*>(packed.data.mutable_data_ptr());
  context.Run(static_cast<int>(panels),
              [&](int panel) { cpu::PackPanel(plain, panel, words, sums); });
  return packed;
}

cpu::PackedMatrix ViewOf(const Matrix& source) {
  const auto& [data, scale, aux] = source;
  const Description description = Describe(source);
  TORCH_CHECK(description.layout == Layout::kCpuPanels && data.dim() == 4 && data.is_cpu() &&
                  data.is_contiguous() && data.scalar_type() == TypeOf(description.encoding),
              "not a matrix that was packed for CPUs");
  cpu::PackedMatrix matrix{description.encoding, description.outputs, description.inputs,
                           static_cast<const std::uint32_t*>(data.const_data_ptr())};
  TORCH_CHECK(data.size(0) == matrix.num_panels() && data.size(1) == matrix.num_steps(),
              "a packed matrix of another shape than its numbers say");
  if (cpu::HasOutputScale(matrix.encoding)) {
    TORCH_CHECK(scale.scalar_type() == at::kFloat && scale.numel() == matrix.outputs &&
                    scale.is_contiguous(),
                "a matrix without a scale for each output");
    matrix.scale = scale.const_data_ptr<float>();
  }
  if (matrix.encoding == Encoding::kInt8) {
    TORCH_CHECK(aux.numel() == Description::kNumbers + matrix.num_panels() * cpu::kPanel,
                "an int8 matrix without the sums of its weights");
    matrix.sums = aux.const_data_ptr<std::int32_t>() + Description::kNumbers;
  }
  return matrix;
}

at::Tensor PackedLinear(const at::Tensor& x0, const cpu::PackedMatrix& w) {
  TORCH_CHECK(x0.dim() == 2 && x0.size(1) == w.inputs && x0.scalar_type() == at::kFloat,
              "a matrix of ", w.inputs, " inputs cannot take rows ", x0.sizes());
  const at::Tensor x = x0.contiguous();
  at::Tensor y = at::empty({x.size(0), w.outputs}, x.options());
  const cpu::Context& context = cpu::CurrentContext();
  cpu::Multiply(
      context,
      cpu::MakeActivations(context, w.encoding, x.const_data_ptr<float>(), x.size(0), w.inputs), w,
      y.mutable_data_ptr<float>());
  return y;
}

void PackedSoftcap(double cap, at::Tensor* x) {
  constexpr std::int64_t kTile = 1 << 14;
  const cpu::Context& context = cpu::CurrentContext();
  const cpu::Kernels& kernels = cpu::KernelsFor(context.isa);
  auto* values = x->mutable_data_ptr<float>();
  const std::int64_t count = x->numel();
  context.Run(static_cast<int>((count + kTile - 1) / kTile), [&](int tile) {
    const std::int64_t first = tile * kTile;
    kernels.softcap(static_cast<int>(std::min(kTile, count - first)), static_cast<float>(cap),
                    values + first);
  });
}

at::Tensor PackedRows(const cpu::PackedMatrix& table, const at::Tensor& rows0) {
  const at::Tensor rows = rows0.contiguous();
  at::Tensor values = at::empty({rows.numel(), table.inputs}, rows.options().dtype(at::kFloat));
  const auto* ids = rows.const_data_ptr<std::int32_t>();
  auto* to = values.mutable_data_ptr<float>();
  cpu::CurrentContext().Run(static_cast<int>(rows.numel()),
                            [&](int i) { cpu::UnpackRow(table, ids[i], to + i * table.inputs); });
  return table.encoding == cpu::Encoding::kBfloat16 ? values.to(at::kBFloat16) : values;
}

}  // namespace paligemma::ops
