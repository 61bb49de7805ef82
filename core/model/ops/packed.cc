// SPDX-License-Identifier: Apache-2.0
#include "core/model/ops/packed.h"

#include <ATen/ops/empty.h>
#include <sys/mman.h>

#include <algorithm>
#include <optional>

#include "core/cpu/kernels.h"
#include "core/cpu/product.h"

namespace paligemma::ops {
namespace {

constexpr std::int64_t kAuxHeader = 2;  // outputs, inputs
constexpr std::uintptr_t kHugePage = 2 << 20;

std::optional<cpu::Encoding> EncodingOf(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return cpu::Encoding::kFloat32;
    case at::kBFloat16:
      return cpu::Encoding::kBfloat16;
    case at::kChar:
      return cpu::Encoding::kInt8;
    case at::kByte:
      return cpu::Encoding::kInt4;
    case at::kFloat8_e4m3fn:
      return cpu::Encoding::kFp8;
    default:
      return std::nullopt;
  }
}

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

bool CanPack(const at::Tensor& data, const at::Tensor& scale) {
  const auto encoding = EncodingOf(data.scalar_type());
  if (data.dim() != 2 || !data.is_cpu() || !data.is_contiguous() || data.numel() == 0 ||
      !encoding.has_value()) {
    return false;
  }
  // Scales in float32, which earlier exporters wrote, and other groups are the reference's.
  return *encoding != cpu::Encoding::kInt4 ||
         (scale.scalar_type() == at::kBFloat16 && scale.is_contiguous() && scale.dim() == 2 &&
          scale.size(0) == data.size(0) && scale.size(1) * cpu::kInt4Group == 2 * data.size(1));
}

bool IsPacked(const at::Tensor& data) { return data.dim() == 4; }

PackedTensors Pack(const cpu::Context& context, const at::Tensor& data, const at::Tensor& scale) {
  const cpu::Encoding encoding = EncodingOf(data.scalar_type()).value();
  const bool int4 = encoding == cpu::Encoding::kInt4;
  cpu::PlainMatrix plain{encoding, data.size(0), data.size(1) * (int4 ? 2 : 1),
                         data.const_data_ptr()};
  if (int4) {
    plain.group_scales = static_cast<const std::uint16_t*>(scale.const_data_ptr());
  }
  const std::int64_t panels = cpu::NumPanels(plain.outputs);
  const std::int64_t output_bytes = 4 * cpu::WordsPerStep(encoding) / cpu::kPanel;
  const std::int64_t num_sums = encoding == cpu::Encoding::kInt8 ? panels * cpu::kPanel : 0;
  PackedTensors packed;
  packed.data = at::empty({panels, cpu::NumSteps(encoding, plain.inputs), cpu::kPanel,
                           output_bytes / data.element_size()},
                          data.options());
  packed.scale = int4 ? at::empty({0}, data.options().dtype(at::kFloat)) : scale;
  PreferHugePages(packed.data);
  packed.aux = at::empty({kAuxHeader + num_sums}, data.options().dtype(at::kInt));
  auto* aux = packed.aux.mutable_data_ptr<std::int32_t>();
  aux[0] = static_cast<std::int32_t>(plain.outputs);
  aux[1] = static_cast<std::int32_t>(plain.inputs);
  auto* words = static_cast<std::uint32_t*>(packed.data.mutable_data_ptr());
  context.Run(static_cast<int>(panels),
              [&](int panel) { cpu::PackPanel(plain, panel, words, aux + kAuxHeader); });
  return packed;
}

cpu::PackedMatrix ViewOf(const at::Tensor& data, const at::Tensor& scale, const at::Tensor& aux) {
  const auto encoding = EncodingOf(data.scalar_type());
  TORCH_CHECK(IsPacked(data) && encoding.has_value() && data.is_cpu() && data.is_contiguous(),
              "not a matrix that was packed for CPUs");
  TORCH_CHECK(aux.scalar_type() == at::kInt && aux.numel() >= kAuxHeader && aux.is_contiguous(),
              "a packed matrix without its numbers");
  const auto* numbers = aux.const_data_ptr<std::int32_t>();
  cpu::PackedMatrix matrix{*encoding, numbers[0], numbers[1],
                           static_cast<const std::uint32_t*>(data.const_data_ptr())};
  TORCH_CHECK(data.size(0) == matrix.num_panels() && data.size(1) == matrix.num_steps(),
              "a packed matrix of another shape than its numbers say");
  if (cpu::HasOutputScale(*encoding)) {
    TORCH_CHECK(scale.scalar_type() == at::kFloat && scale.numel() == matrix.outputs &&
                    scale.is_contiguous(),
                "a matrix without a scale for each output");
    matrix.scale = scale.const_data_ptr<float>();
  }
  if (*encoding == cpu::Encoding::kInt8) {
    TORCH_CHECK(aux.numel() == kAuxHeader + matrix.num_panels() * cpu::kPanel,
                "an int8 matrix without the sums of its weights");
    matrix.sums = numbers + kAuxHeader;
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
