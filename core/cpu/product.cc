// SPDX-License-Identifier: Apache-2.0
#include "core/cpu/product.h"

#include <algorithm>

#include "core/base/check.h"
#include "core/cpu/architecture.h"
#include "core/cpu/kernels.h"

namespace paligemma::cpu {
namespace {

constexpr std::int64_t kWordsPerLine = 16;

// Of activations, for one step of weights.
std::int64_t InputWordsPerStep(Isa isa, Encoding encoding) {
  switch (encoding) {
    case Encoding::kFloat32:
      return 1;
    case Encoding::kBfloat16:
      return KernelsFor(isa).bfloat16_row_words;
    case Encoding::kInt8:
      return KernelsFor(isa).int8_row_words;
    case Encoding::kFp8:
      return 2 * KernelsFor(isa).bfloat16_row_words;
    case Encoding::kInt4:
      return kInt4Group / 4 + 1;
  }
  return 0;
}

// Whole cache lines, and an odd number of them: rows a power of two apart would share cache sets.
std::int64_t StrideOf(Isa isa, Encoding encoding, std::int64_t inputs) {
  const std::int64_t words = NumSteps(encoding, inputs) * InputWordsPerStep(isa, encoding);
  const std::int64_t lines = (words + kWordsPerLine - 1) / kWordsPerLine;
  return (lines | 1) * kWordsPerLine;
}

using PanelKernel = void (*)(const PanelJob&);

PanelKernel KernelOf(const Kernels& kernels, Encoding encoding) {
  switch (encoding) {
    case Encoding::kFloat32:
      return kernels.float32_panel;
    case Encoding::kBfloat16:
      return kernels.bfloat16_panel;
    case Encoding::kInt8:
      return kernels.int8_panel;
    case Encoding::kInt4:
      return kernels.int4_panel;
    case Encoding::kFp8:
      return kernels.fp8_panel;
  }
  return nullptr;
}

// A matrix's last outputs, where they do not fill a panel: the kernel works beside the result.
void MultiplyNarrowPanel(PanelKernel kernel, PanelJob job, std::int64_t width) {
  float scale[kPanel] = {};
  if (job.weight_scale != nullptr) {
    std::copy(job.weight_scale, job.weight_scale + width, scale);
    job.weight_scale = scale;
  }
  AlignedBuffer<float> whole(job.num_rows * kPanel);
  float* const y = job.y;
  const std::int64_t y_stride = job.y_stride;
  job.y = whole.data();
  job.y_stride = kPanel;
  kernel(job);
  for (std::int64_t row = 0; row < job.num_rows; ++row) {
    std::copy(whole.data() + row * kPanel, whole.data() + row * kPanel + width, y + row * y_stride);
  }
}

// Rows [row, row + count) times one panel, to the first of these rows at y.
void MultiplyRows(PanelKernel kernel, const Activations& x, const PackedMatrix& w,
                  std::int64_t panel, std::int64_t row, std::int64_t count, float* y,
                  std::int64_t y_stride) {
  const std::int64_t first = panel * kPanel;
  PanelJob job;
  job.weights = w.words + panel * w.panel_words();
  job.weight_sums = w.sums == nullptr ? nullptr : w.sums + first;
  job.weight_scale = w.scale == nullptr ? nullptr : w.scale + first;
  job.rows = x.words() + row * x.stride();
  job.row_stride = x.stride();
  job.row_scale = x.scales() == nullptr ? nullptr : x.scales() + row;
  job.num_rows = static_cast<int>(count);
  job.num_steps = static_cast<int>(w.num_steps());
  job.y = y;
  job.y_stride = y_stride;
  if (w.outputs - first >= kPanel) {
    kernel(job);
  } else {
    MultiplyNarrowPanel(kernel, job, w.outputs - first);
  }
}

// Panels that a thread takes one after the other: kernels fetch what lies behind the panel at hand.
// Of tasks there must be enough for each thread still, so that a slow one takes fewer.
std::int64_t PanelsInARow(const Context& context, std::int64_t num_panels) {
  constexpr std::int64_t kTasksOfAThread = 16, kMost = 8;
  const std::int64_t threads = context.pool == nullptr ? 1 : context.pool->num_threads();
  return std::clamp<std::int64_t>(num_panels / (kTasksOfAThread * threads), 1, kMost);
}

// Rows that pass over all weights before the next ones do: so many that reading the weights again
// does not count, so few that they wait for the next panel in the caches of a core.
std::int64_t RowsAtOnce(const Activations& x) {
  constexpr std::int64_t kBytes = 3 << 19, kLeast = 192, kTile = 12;
  const std::int64_t most = std::max(kLeast, kBytes / (4 * x.stride()));
  const std::int64_t blocks = (x.num_rows() + most - 1) / most;
  const std::int64_t rows = (x.num_rows() + blocks - 1) / blocks;  // all blocks alike
  return (rows + kTile - 1) / kTile * kTile;
}

}  // namespace

const Kernels& KernelsFor(Isa isa) {
  PG_CHECK(CanRun(isa)) << "kernels for " << IsaName(isa);
  for (const IsaKernels& each : ArchitectureKernels()) {
    if (each.isa == isa) {
      return *each.kernels;
    }
  }
  PG_CHECK(false) << "the reference kernels have no table";
  return *ArchitectureKernels().front().kernels;
}

Activations::Activations(Isa isa, Encoding encoding, std::int64_t num_rows, std::int64_t inputs)
    : isa_(isa),
      encoding_(encoding),
      num_rows_(num_rows),
      inputs_(inputs),
      stride_(StrideOf(isa, encoding, inputs)),
      words_(num_rows * stride_),
      scales_(encoding == Encoding::kInt8 || encoding == Encoding::kInt4 ? num_rows : 0) {}

void Activations::SetRow(std::int64_t row, const float* x) {
  std::uint32_t* words = words_.data() + row * stride_;
  const int count = static_cast<int>(inputs_);
  const int padded = static_cast<int>(NumSteps(encoding_, inputs_) * InputsPerStep(encoding_));
  switch (encoding_) {
    case Encoding::kFloat32:
      std::copy(x, x + count, reinterpret_cast<float*>(words));
      break;
    case Encoding::kBfloat16:
    case Encoding::kFp8:
      KernelsFor(isa_).bfloat16_row(x, count, padded / 2, words);
      break;
    case Encoding::kInt8:
      scales_[row] = KernelsFor(isa_).quantize(x, count, padded / 4, words);
      break;
    case Encoding::kInt4:
      scales_[row] =
          KernelsFor(isa_).quantize_in_groups(x, count, reinterpret_cast<std::int8_t*>(words),
                                              reinterpret_cast<std::int32_t*>(words + inputs_ / 4));
      break;
  }
}

Activations MakeActivations(const Context& context, Encoding encoding, const float* x,
                            std::int64_t num_rows, std::int64_t inputs) {
  Activations activations(context.isa, encoding, num_rows, inputs);
  context.Run(static_cast<int>(num_rows),
              [&](int row) { activations.SetRow(row, x + row * inputs); });
  return activations;
}

void Multiply(const Context& context, const Activations& x, const PackedMatrix& w, float* y) {
  PG_CHECK(x.encoding() == w.encoding && x.inputs() == w.inputs)
      << x.inputs() << " inputs for a matrix that takes " << w.inputs;
  if (x.num_rows() == 0) {
    return;
  }
  const PanelKernel kernel = KernelOf(KernelsFor(context.isa), w.encoding);
  const std::int64_t num_panels = w.num_panels(), run = PanelsInARow(context, num_panels);
  const std::int64_t runs = (num_panels + run - 1) / run, rows = RowsAtOnce(x);
  const std::int64_t blocks = (x.num_rows() + rows - 1) / rows;
  context.Run(static_cast<int>(blocks * runs), [&](int task) {
    const std::int64_t row = task / runs * rows, count = std::min(rows, x.num_rows() - row);
    const std::int64_t begin = task % runs * run, end = std::min(num_panels, begin + run);
    for (std::int64_t panel = begin; panel < end; ++panel) {
      MultiplyRows(kernel, x, w, panel, row, count, y + row * w.outputs + panel * kPanel,
                   w.outputs);
    }
  });
}
void MultiplyPanel(const Context& context, const Activations& x, const PackedMatrix& w,
                   std::int64_t panel, float* y, std::int64_t y_stride) {
  MultiplyRows(KernelOf(KernelsFor(context.isa), w.encoding), x, w, panel, 0, x.num_rows(), y,
               y_stride);
}

}  // namespace paligemma::cpu
