// SPDX-License-Identifier: Apache-2.0
// The matrices of PaliGemma 2 3B times 1 to 1072 rows: the CPU kernels, torch's products (oneDNN's,
// MKL's, its own for int4) and the reference kernels, each beside the machine's limits of the same
// round. Every round walks all matrices, so that each is read from memory anew. Conversion of the
// activations is part of every time.
//
// --cpu-time: one thread each, in CPU time instead of wall time. For machines that others use: what
// they take does not count, nor does what OpenMP's threads spend waiting for each other.
// --only=TEXT: only the matrices with TEXT in their names, "int8 gate_up"; a few of these stay in
// the caches, and bandwidths lie.
#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/_convert_weight_to_int4pack_for_cpu.h>
#include <ATen/ops/_weight_int4pack_mm_for_cpu.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/quantize_per_tensor.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <set>
#include <thread>

#include "benchmarks/machine_limits.h"
#include "benchmarks/report.h"
#include "core/model/ops/linear.h"
#include "core/model/ops/packed.h"

namespace paligemma::bench {
namespace {

using at::Tensor;

constexpr int kRounds = 5;
constexpr int kRows[] = {1, 4, 16, 64, 268, 1072};
constexpr int kMostLogitsRows = 16;  // sequences that sample in one step
// The reference kernels are not made for speed: one small matrix will do.
constexpr int kReferenceRows[] = {1, 268};
constexpr const char* kReferenceShape = "out";

struct Shape {
  const char* name;
  std::int64_t outputs, inputs;
};
constexpr Shape kShapes[] = {{"qkv", 4096, 2304},
                             {"out", 2304, 2048},
                             {"gate_up", 18432, 2304},
                             {"down", 2304, 9216},
                             {"logits", 257216, 2304}};

template <typename Body>
double Seconds(const Body& body) {
  const double start = Now();
  body();
  return Now() - start;
}

// oneDNN's int8 product with prepacked weights, called through the dispatcher: it has no header.
class OneDnnInt8 {
 public:
  explicit OneDnnInt8(const Tensor& weights) : outputs_(weights.size(0)) {
    auto operation = c10::Dispatcher::singleton().findSchemaOrThrow("onednn::qlinear_prepack", "");
    torch::jit::Stack stack{weights, c10::IValue()};
    operation.callBoxed(stack);
    packed_ = stack.back().toTensor();
  }
  Tensor Run(const Tensor& x) const {
    static const auto operation =
        c10::Dispatcher::singleton().findSchemaOrThrow("onednn::qlinear_pointwise", "");
    const double scale = x.abs().max().item<double>() / 127;
    const Tensor bytes = (x / scale).round_().add_(128).to(at::kByte);
    torch::jit::Stack stack{bytes,
                            scale,
                            128,
                            packed_,
                            at::ones({outputs_}),
                            at::zeros({outputs_}, at::kInt),
                            c10::IValue(),
                            1.0,
                            0,
                            at::kFloat,
                            "none",
                            c10::List<std::optional<at::Scalar>>(),
                            ""};
    operation.callBoxed(stack);
    return stack.back().toTensor();
  }

 private:
  std::int64_t outputs_;
  Tensor packed_;
};

// One matrix in one encoding, as each contestant keeps it.
struct Contest {
  Shape shape;
  at::ScalarType type;
  Tensor canonical, scale, aux;
  ops::PackedTensors packed;
  std::function<Tensor(const Tensor&)> library;           // takes float32
  std::map<int, Row> against_library, against_reference;  // by rows
};

const char* NameOf(at::ScalarType type) {
  return type == at::kChar            ? "int8"
         : type == at::kByte          ? "int4"
         : type == at::kFloat8_e4m3fn ? "fp8"
         : type == at::kBFloat16      ? "bfloat16"
                                      : "float32";
}

const char* LibraryName(at::ScalarType type) {
  return type == at::kChar            ? "oneDNN qlinear (one scale a batch)"
         : type == at::kByte          ? "torch int4pack (bfloat16 activations)"
         : type == at::kFloat8_e4m3fn ? "oneDNN F.linear of bfloat16"
         : type == at::kBFloat16      ? "oneDNN F.linear"
                                      : "MKL F.linear";
}

// Random weights as bundles store them, and the scale.
std::pair<Tensor, Tensor> RandomWeights(const Shape& shape, at::ScalarType type) {
  switch (type) {
    case at::kChar:
      return {at::randint(-127, 128, {shape.outputs, shape.inputs}, type),
              at::ones({shape.outputs})};
    case at::kByte:
      return {at::randint(0, 256, {shape.outputs, shape.inputs / 2}, type),
              at::ones({shape.outputs, shape.inputs / 32}, at::kBFloat16)};
    case at::kFloat8_e4m3fn:
      return {at::randn({shape.outputs, shape.inputs}).to(type), at::ones({shape.outputs})};
    default:
      return {at::randn({shape.outputs, shape.inputs}, type), at::empty({0})};
  }
}

// What torch does with such weights, in the form that it wants.
std::function<Tensor(const Tensor&)> Library(const Shape& shape, const Tensor& canonical) {
  switch (canonical.scalar_type()) {
    case at::kChar:
      return [onednn = OneDnnInt8(canonical)](const Tensor& x) { return onednn.Run(x); };
    case at::kByte: {
      const Tensor packed = at::_convert_weight_to_int4pack_for_cpu(
          at::randint(0, 16, {shape.outputs, shape.inputs}, at::kInt), 1);
      const Tensor scales = at::ones({shape.inputs / 32, shape.outputs, 2}, at::kBFloat16);
      return [packed, scales](const Tensor& x) {
        return at::_weight_int4pack_mm_for_cpu(x.to(at::kBFloat16), packed, 32, scales);
      };
    }
    case at::kFloat:
      return [canonical](const Tensor& x) { return at::linear(x, canonical); };
    default:
      return [weights = canonical.to(at::kBFloat16)](const Tensor& x) {
        return at::linear(x.to(at::kBFloat16), weights);
      };
  }
}

class Bench {
 public:
  Bench(const cpu::Context& context, int num_threads)
      : context_(context), num_threads_(num_threads) {}

  void Add(const Shape& shape, at::ScalarType type) {
    Contest contest{shape, type, {}, {}, {}, {}, {}, {}, {}};
    std::tie(contest.canonical, contest.scale) = RandomWeights(shape, type);
    const ops::Encoding encoding = ops::EncodingStoredAs(type).value();
    contest.packed = ops::Pack(context_, contest.canonical, contest.scale, encoding);
    contest.aux = ops::MakeAux(ops::DescribeCanonical(contest.canonical, encoding));
    contest.library = Library(shape, contest.canonical);
    contests_.push_back(std::move(contest));
  }

  void Round() {
    for (const int rows : kRows) {
      MeasureLimits();
      for (Contest& contest : contests_) {
        if (rows <= kMostLogitsRows || contest.shape.outputs < 100'000) {
          Measure(rows, &contest);
        }
      }
    }
  }

  void Finish(Report* report) const {
    report->Add({"read bandwidth", "GB/s", bandwidth_, {}, "", "the limit of few rows", false});
    for (const auto& [encoding, peak] : peaks_) {
      report->Add({std::string("peak ") + NameOf(encoding),
                   "TOP/s",
                   peak,
                   {},
                   "",
                   "the limit of many rows",
                   false});
    }
    for (const Contest& contest : contests_) {
      for (const auto& [rows, row] : contest.against_library)
        report->Add(WithShare(contest, rows, row));
      for (const auto& [rows, row] : contest.against_reference)
        report->Add(WithShare(contest, rows, row));
    }
  }

 private:
  // Of the multiplications that it ends in.
  static at::ScalarType PeakOf(at::ScalarType type) {
    return type == at::kByte ? at::kChar : type == at::kFloat8_e4m3fn ? at::kBFloat16 : type;
  }
  static cpu::Encoding EncodingOf(at::ScalarType type) {
    return type == at::kChar       ? cpu::Encoding::kInt8
           : type == at::kBFloat16 ? cpu::Encoding::kBfloat16
                                   : cpu::Encoding::kFloat32;
  }

  void MeasureLimits() {
    // The largest matrix of all, which no cache holds.
    const auto largest = std::max_element(contests_.begin(), contests_.end(),
                                          [](const Contest& a, const Contest& b) {
                                            return a.packed.data.nbytes() < b.packed.data.nbytes();
                                          });
    const std::size_t bytes = largest->packed.data.nbytes();
    bandwidth_.push_back(
        bytes / SecondsToRead(context_, largest->packed.data.const_data_ptr(), bytes) * 1e-9);
    std::set<at::ScalarType> types;
    for (const Contest& contest : contests_) {
      types.insert(PeakOf(contest.type));
    }
    for (const at::ScalarType type : types) {
      peaks_[type].push_back(PeakOperations(context_, EncodingOf(type)) * 1e-12);
    }
  }

  void Measure(int rows, Contest* contest) {
    const Tensor x = at::randn({rows, contest->shape.inputs});
    const double ours = Seconds([&] { ops::Linear(x, contest->packed.View()); });
    at::set_num_threads(num_threads_);
    const double library = Seconds([&] { contest->library(x); });
    Keep(rows, *contest, ours, library, LibraryName(contest->type),
         &contest->against_library[rows]);
    const bool referenced = std::find(std::begin(kReferenceRows), std::end(kReferenceRows), rows) !=
                                std::end(kReferenceRows) &&
                            contest->shape.name == std::string(kReferenceShape);
    if (referenced) {
      const double reference = Seconds([&] {
        ops::Linear(x, {contest->canonical, contest->scale, contest->aux});
      });
      Keep(rows, *contest, ours, reference, "reference kernel", &contest->against_reference[rows]);
    }
    // OpenMP's threads spin on for a while after their work.
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }

  static void Keep(int rows, const Contest& contest, double ours, double other,
                   const std::string& name, Row* row) {
    row->name = std::string(NameOf(contest.type)) + " " + contest.shape.name + ", " +
                std::to_string(rows) + (rows == 1 ? " row" : " rows");
    row->unit = "ms";
    row->ours.push_back(ours * 1e3);
    row->reference.push_back(other * 1e3);
    row->reference_name = name;
  }

  // Says how much of which limit the fastest round reached.
  Row WithShare(const Contest& contest, int rows, Row row) const {
    const double seconds = *std::min_element(row.ours.begin(), row.ours.end()) * 1e-3;
    const double reading = contest.packed.data.nbytes() / seconds * 1e-9 /
                           *std::max_element(bandwidth_.begin(), bandwidth_.end());
    const auto& peak = peaks_.at(PeakOf(contest.type));
    const double computing = 2e-12 * rows * contest.shape.outputs * contest.shape.inputs / seconds /
                             *std::max_element(peak.begin(), peak.end());
    row.note = std::to_string(static_cast<int>(100 * std::max(reading, computing) + 0.5)) +
               (reading > computing ? " % of the bandwidth" : " % of the peak");
    return row;
  }

  const cpu::Context& context_;
  const int num_threads_;
  std::vector<Contest> contests_;
  std::vector<double> bandwidth_;
  std::map<at::ScalarType, std::vector<double>> peaks_;
};

int Main(int argc, char** argv) {
  const c10::InferenceMode inference;
  const bool cpu_time = HasOption(argc, argv, "--cpu-time");
  UseCpuTime(cpu_time);
  const int num_threads =
      cpu_time ? 1 : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  cpu::ThreadPool pool(num_threads);
  const cpu::Context context{cpu::DetectIsa(), &pool};
  if (context.isa == cpu::Isa::kReference) {
    std::cerr << "this machine has no AVX2: only the reference kernels run on it\n";
    return 0;
  }
  const cpu::ContextScope scope(context);
  Bench bench(context, num_threads);
  for (const auto type : {at::kChar, at::kByte, at::kFloat8_e4m3fn, at::kBFloat16, at::kFloat}) {
    for (const Shape& shape : kShapes) {
      // Recipes keep the logits out of int4; float32's would be 2.4 GB, twice.
      const bool fits = shape.outputs < 100'000 || type == at::kChar || type == at::kBFloat16;
      const std::string name = std::string(NameOf(type)) + " " + shape.name;
      if (fits && name.find(OptionValue(argc, argv, "--only=")) != std::string::npos) {
        bench.Add(shape, type);
      }
    }
  }
  for (int round = 0; round < kRounds; ++round) bench.Round();
  Report report("cpu_kernels", std::string(cpu::IsaName(context.isa)), num_threads, argc, argv);
  bench.Finish(&report);
  return report.Finish() ? 0 : 1;
}

}  // namespace
}  // namespace paligemma::bench

int main(int argc, char** argv) { return paligemma::bench::Main(argc, argv); }
