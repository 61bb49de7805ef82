// SPDX-License-Identifier: Apache-2.0
// PaliGemma 2 3B on the CPU kernels, with random weights of the true shapes in each recipe: the
// vision tower, a prefill of one image and twelve tokens (268 at 224 px) and decode steps of 1, 4
// and 16 sequences that have as many behind them, operator by operator as the decoder calls them.
// Beside each stands what the machine's limits of the same round allow: reading the weights once,
// or multiplying. The notes tell the parts; "of it heads" is what the attention operators spend
// between their products, measured beside.
//
// --size=448 or 896: of larger images. --pages=int8: of the KV cache, else bfloat16.
// --cpu-time: one thread, in CPU time instead of wall time. For machines that others use.
// --only=TEXT: only recipes with TEXT in their names. --layers=N: fewer decoder and vision layers,
// for a quick look; times are then those of the smaller model.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <numeric>
#include <sstream>
#include <thread>

#include "benchmarks/machine_limits.h"
#include "benchmarks/report.h"
#include "core/cpu/attention.h"
#include "core/model/ops/cpu_kernels.h"
#include "core/model/ops/packed.h"

namespace paligemma::bench {
namespace {

using at::Tensor;

constexpr int kRounds = 5;
constexpr std::int64_t kHidden = 2304, kHeads = 8, kKvHeads = 4, kDim = 256, kInner = 9216;
constexpr std::int64_t kVocab = 257152, kTextTokens = 12, kBlock = 16, kPatch = 14;
constexpr std::int64_t kVisionHidden = 1152, kVisionHeads = 16, kVisionDim = 72,
                       kVisionInner = 4304;
constexpr int kBatches[] = {1, 4, 16};

struct Recipe {
  const char* name;
  at::ScalarType embedding, attention, mlp, vision;
};
constexpr Recipe kRecipes[] = {
    {"int8", at::kChar, at::kChar, at::kChar, at::kBFloat16},
    {"int8 with an int8 tower", at::kChar, at::kChar, at::kChar, at::kChar},
    {"mixed", at::kChar, at::kChar, at::kByte, at::kBFloat16},
    {"int4", at::kChar, at::kByte, at::kByte, at::kBFloat16},
    {"fp8", at::kFloat8_e4m3fn, at::kFloat8_e4m3fn, at::kFloat8_e4m3fn, at::kBFloat16},
    {"bfloat16", at::kBFloat16, at::kBFloat16, at::kBFloat16, at::kBFloat16}};

// What multiplies in the end.
cpu::Encoding PeakOf(at::ScalarType type) {
  return type == at::kChar || type == at::kByte ? cpu::Encoding::kInt8 : cpu::Encoding::kBfloat16;
}

// A random matrix in packed form. Equal contents do, so one canonical matrix serves many.
class Weights {
 public:
  Weights(std::int64_t outputs, std::int64_t inputs, at::ScalarType type)
      : operations_per_row_(2 * outputs * inputs), encoding_(PeakOf(type)) {
    switch (type) {
      case at::kChar:
        data_ = at::randint(-127, 128, {outputs, inputs}, type);
        scale_ = at::full({outputs}, 1e-4);
        break;
      case at::kByte:
        data_ = at::randint(0, 256, {outputs, inputs / 2}, type);
        scale_ = at::full({outputs, inputs / 32}, 2e-3, at::kBFloat16);
        break;
      case at::kFloat8_e4m3fn:
        data_ = at::randn({outputs, inputs}).to(type);
        scale_ = at::full({outputs}, 1e-2);
        break;
      default:
        data_ = (at::randn({outputs, inputs}) * 1e-2).to(type);
        scale_ = at::empty({0});
    }
  }
  ops::PackedTensors Pack() const {
    return ops::Pack(cpu::CurrentContext(), data_, scale_,
                     ops::EncodingStoredAs(data_.scalar_type()).value());
  }
  double operations_per_row() const { return operations_per_row_; }
  cpu::Encoding encoding() const { return encoding_; }

 private:
  double operations_per_row_;
  cpu::Encoding encoding_;
  Tensor data_, scale_;
};

// Seconds of a phase by part, and what its limits allow.
struct Phase {
  std::map<std::string, double> parts;
  double heads = 0;  // of the attention's part
  double Total() const {
    double sum = 0;
    for (const auto& [name, seconds] : parts) sum += seconds;
    return sum;
  }
};

struct Shape {
  int layers = 26, vision_layers = 27;
  std::int64_t image_tokens = 256;
  bool int8_pages = false;
  std::int64_t prompt() const { return image_tokens + kTextTokens; }
};

// Seconds of AttendPrompt() over prompts of `length` rows, `times` times.
double SecondsOfHeads(const cpu::AttentionShape& shape, std::int64_t length, int times) {
  const std::int64_t width = std::int64_t{shape.heads + 2 * shape.kv_heads} * shape.head_dim;
  const Tensor rows = at::randn({length, width});
  Tensor out = at::empty({length, std::int64_t{shape.heads} * shape.head_dim});
  cpu::Prompt prompt;
  prompt.queries = rows.const_data_ptr<float>();
  prompt.keys = prompt.queries + out.size(1);
  prompt.values = prompt.keys + std::int64_t{shape.kv_heads} * shape.head_dim;
  prompt.stride = width;
  prompt.length = static_cast<int>(length);
  prompt.rows.resize(length);
  std::iota(prompt.rows.begin(), prompt.rows.end(), 0);
  prompt.targets = prompt.rows;
  const double start = Now();
  for (int i = 0; i < times; ++i) {
    cpu::AttendPrompt(cpu::CurrentContext(), shape, prompt, out.mutable_data_ptr<float>(),
                      out.size(1));
  }
  return Now() - start;
}

class Model {
 public:
  Model(const Recipe& recipe, const Shape& shape) : shape_(shape) {
    const Weights qkv((kHeads + 2 * kKvHeads) * kDim, kHidden, recipe.attention);
    const Weights out(kHidden, kHeads * kDim, recipe.attention);
    const Weights gate_up(2 * kInner, kHidden, recipe.mlp), down(kHidden, kInner, recipe.mlp);
    for (int i = 0; i < shape.layers; ++i) {
      layers_.push_back({qkv.Pack(), out.Pack(), gate_up.Pack(), down.Pack()});
      Count({&qkv, &out, &gate_up, &down}, &operations_);
    }
    const Weights table(kVocab, kHidden, recipe.embedding);
    table_ = table.Pack();
    Count({&table}, &logits_operations_);
    const Weights vision_qkv(3 * kVisionHidden, kVisionHidden, recipe.vision);
    const Weights vision_out(kVisionHidden, kVisionHidden, recipe.vision);
    const Weights fc1(kVisionInner, kVisionHidden, recipe.vision);
    const Weights fc2(kVisionHidden, kVisionInner, recipe.vision);
    for (int i = 0; i < shape.vision_layers; ++i) {
      vision_.push_back({vision_qkv.Pack(), vision_out.Pack(), fc1.Pack(), fc2.Pack()});
      Count({&vision_qkv, &vision_out, &fc1, &fc2}, &vision_operations_);
    }
    const std::int64_t blocks = kBatches[2] * BlocksOf(shape.prompt() + 1);
    const std::vector<std::int64_t> rows = {shape.layers, 2, blocks, kKvHeads, kBlock};
    kv_scale_ = shape.int8_pages ? at::full(rows, 0.01) : at::empty({0});
    std::vector<std::int64_t> values = rows;
    values.push_back(kDim);
    kv_ = shape.int8_pages ? at::randint(-127, 128, values, at::kChar)
                           : at::randn(values, at::kBFloat16);
  }

  Phase Vision() const {
    Phase phase;
    Tensor h = at::randn({shape_.image_tokens, kVisionHidden});
    const Tensor norm = at::zeros({kVisionHidden}), inner_bias = at::zeros({kVisionInner});
    const Tensor qkv_bias = at::zeros({3 * kVisionHidden});
    for (const auto& [qkv, out, fc1, fc2] : vision_) {
      const double start = Now();
      h = ops::CpuVisionAttention({h,
                                   {norm, norm, 1e-6},
                                   qkv.View(),
                                   qkv_bias,
                                   out.View(),
                                   norm,
                                   shape_.image_tokens,
                                   kVisionHeads,
                                   kVisionDim});
      const double middle = Now();
      h = ops::CpuVisionMlp(
          {h, {norm, norm, 1e-6}, fc1.View(), inner_bias, fc2.View(), norm, kVisionInner});
      phase.parts["attention"] += middle - start;
      phase.parts["mlp"] += Now() - middle;
    }
    phase.heads = SecondsOfHeads({kVisionHeads, kVisionHeads, kVisionDim, 0.118f, 0},
                                 shape_.image_tokens, shape_.vision_layers);
    return phase;
  }

  Phase Prefill() const {
    const std::int64_t count = shape_.prompt();
    const Tensor positions = at::arange(count, at::kInt), last = at::full({1}, count - 1, at::kInt);
    const Tensor none = at::zeros({0}, at::kInt);
    Phase phase =
        Step(count, positions, positions, {count}, at::zeros({0, 1}, at::kInt), none, last);
    phase.heads = SecondsOfHeads({kHeads, kKvHeads, kDim, 0.0625f, 50}, count, shape_.layers);
    return phase;
  }

  Phase Decode(std::int64_t batch) const {
    const std::int64_t blocks = BlocksOf(shape_.prompt() + 1);
    const Tensor sequences = at::arange(batch, at::kInt);
    const Tensor table = at::arange(batch * blocks, at::kInt).view({batch, blocks});
    const Tensor context = at::full({batch}, shape_.prompt() + 1, at::kInt);
    return Step(batch, context - 1, sequences * (blocks * kBlock) + shape_.prompt(), {}, table,
                context, at::zeros({0}, at::kInt));
  }

  double decoder_bytes() const { return Bytes(layers_); }
  double table_bytes() const { return static_cast<double>(table_.data.nbytes()); }
  double vision_bytes() const { return Bytes(vision_); }
  using Operations = std::map<cpu::Encoding, double>;  // of one row
  const Operations& decoder_operations() const { return operations_; }
  const Operations& logits_operations() const { return logits_operations_; }
  const Operations& vision_operations() const { return vision_operations_; }

 private:
  struct Layer {
    ops::PackedTensors first, second, third, fourth;
  };

  static std::int64_t BlocksOf(std::int64_t tokens) { return (tokens + kBlock - 1) / kBlock; }
  static void Count(std::initializer_list<const Weights*> all, Operations* operations) {
    for (const Weights* weights : all) {
      (*operations)[weights->encoding()] += weights->operations_per_row();
    }
  }
  static double Bytes(const std::vector<Layer>& layers) {
    double bytes = 0;
    for (const auto& [a, b, c, d] : layers) {
      bytes += a.data.nbytes() + b.data.nbytes() + c.data.nbytes() + d.data.nbytes();
    }
    return bytes;
  }

  // All layers, then a token for each row that is left.
  Phase Step(std::int64_t num_rows, const Tensor& positions, const Tensor& slots,
             const std::vector<std::int64_t>& prompts, const Tensor& table, const Tensor& context,
             const Tensor& kept) const {
    Phase phase;
    Tensor h = at::randn({num_rows, kHidden}), y = at::zeros({0}), y_norm = at::zeros({0});
    const Tensor norm = at::zeros({kHidden}), none = at::zeros({0});
    const Tensor rope = ops::rope({positions, kDim, 10000}), all = at::zeros({0}, at::kInt);
    const Tensor start = at::zeros({1}, at::kInt);
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const auto& [qkv, out, gate_up, down] = layers_[i];
      const double begin = Now();
      std::tie(h, y) = ops::CpuAttention({{h, y, y_norm},
                                          norm,
                                          qkv.View(),
                                          out.View(),
                                          rope,
                                          kv_,
                                          kv_scale_,
                                          slots,
                                          start,
                                          prompts,
                                          table,
                                          context,
                                          i + 1 == layers_.size() ? kept : all,
                                          {ops::TensorList(), none},
                                          static_cast<std::int64_t>(i),
                                          kHeads,
                                          kKvHeads,
                                          kDim,
                                          1e-6,
                                          0.0625,
                                          50,
                                          0});
      const double middle = Now();
      std::tie(h, y) = ops::CpuMlp({{h, y, norm},
                                    norm,
                                    gate_up.View(),
                                    down.View(),
                                    {ops::TensorList(), none},
                                    static_cast<std::int64_t>(i),
                                    kInner,
                                    1e-6});
      y_norm = norm;
      phase.parts["attention"] += middle - begin;
      phase.parts["mlp"] += Now() - middle;
    }
    const double begin = Now();
    Sample(ops::finish({{h, y, y_norm}, norm, 1e-6}));
    phase.parts["logits and token"] += Now() - begin;
    return phase;
  }

  // Greedy, without log-probabilities.
  void Sample(const Tensor& hidden) const {
    const std::int64_t rows = hidden.size(0);
    Tensor params = at::zeros({rows, 4}), controls = at::full({rows, 8}, -1, at::kInt);
    params.select(1, 1).fill_(1);
    params.select(1, 3).fill_(1);
    const Tensor nothing = at::zeros({0, 0}, at::kInt);
    ops::sample({{hidden, table_.View(), kVocab, 0}, params, controls, nothing, nothing, 0, -1});
  }

  const Shape shape_;
  std::vector<Layer> layers_, vision_;
  ops::PackedTensors table_;
  Tensor kv_, kv_scale_;
  Operations operations_, logits_operations_, vision_operations_;
};

class Bench {
 public:
  Bench(const cpu::Context& context, const Shape& shape)
      : context_(context), shape_(shape), probe_(at::empty({1 << 30}, at::kByte).fill_(1)) {}

  void Run(const Recipe& recipe) {
    const Model model(recipe, shape_);
    const std::string name(recipe.name);
    for (int round = 0; round < kRounds; ++round) {
      MeasureLimits();
      Keep(name + ", vision", model.Vision(), model.vision_bytes(),
           {{model.vision_operations(), shape_.image_tokens}});
      Keep(name + ", prefill " + std::to_string(shape_.prompt()), model.Prefill(),
           model.decoder_bytes() + model.table_bytes(),
           {{model.decoder_operations(), shape_.prompt()}, {model.logits_operations(), 1}});
      for (const int batch : kBatches) {
        Keep(name + ", decode of " + std::to_string(batch), model.Decode(batch),
             model.decoder_bytes() + model.table_bytes(),
             {{model.decoder_operations(), batch}, {model.logits_operations(), batch}});
      }
    }
  }

  void Finish(Report* report) {
    for (const std::string& name : order_) {
      Entry& entry = entries_[name];
      Row row{name, "ms", entry.seconds, entry.limits, "the limit", "", true};
      for (auto& [part, seconds] : entry.parts) {
        std::ostringstream text;
        text.precision(3);
        text << (row.note.empty() ? "" : ", ") << part << " " << Median(seconds);
        row.note += text.str();
      }
      report->Add(row);
    }
  }

 private:
  struct Entry {
    std::vector<double> seconds, limits;
    std::map<std::string, std::vector<double>> parts;
  };
  using Work = std::vector<std::pair<Model::Operations, std::int64_t>>;  // of a row, rows

  void MeasureLimits() {
    const std::size_t bytes = probe_.nbytes();
    bandwidth_ = bytes / SecondsToRead(context_, probe_.const_data_ptr(), bytes);
    for (const auto encoding : {cpu::Encoding::kInt8, cpu::Encoding::kBfloat16}) {
      peaks_[encoding] = PeakOperations(context_, encoding);
    }
  }

  void Keep(const std::string& name, const Phase& phase, double bytes, const Work& work) {
    if (!entries_.contains(name)) order_.push_back(name);
    Entry& entry = entries_[name];
    entry.seconds.push_back(phase.Total() * 1e3);
    for (const auto& [part, seconds] : phase.parts) entry.parts[part].push_back(seconds * 1e3);
    if (phase.heads > 0) entry.parts["of it heads"].push_back(phase.heads * 1e3);
    double computing = 0;
    for (const auto& [operations, rows] : work) {
      for (const auto& [encoding, count] : operations) computing += count * rows / peaks_[encoding];
    }
    entry.limits.push_back(std::max(bytes / bandwidth_, computing) * 1e3);
  }

  const cpu::Context& context_;
  const Shape shape_;
  const Tensor probe_;  // larger than any cache
  double bandwidth_ = 0;
  std::map<cpu::Encoding, double> peaks_;
  std::map<std::string, Entry> entries_;
  std::vector<std::string> order_;
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
  const std::string layers = OptionValue(argc, argv, "--layers=");
  const std::string size = OptionValue(argc, argv, "--size=");
  Shape shape;
  if (!layers.empty()) shape.layers = shape.vision_layers = std::stoi(layers);
  const std::int64_t side = (size.empty() ? 224 : std::stoi(size)) / kPatch;
  shape.image_tokens = side * side;
  shape.int8_pages = OptionValue(argc, argv, "--pages=") == "int8";
  Bench bench(context, shape);
  for (const Recipe& recipe : kRecipes) {
    if (std::string(recipe.name).find(OptionValue(argc, argv, "--only=")) != std::string::npos) {
      bench.Run(recipe);
    }
  }
  Report report("cpu_model", std::string(cpu::IsaName(context.isa)), num_threads, argc, argv);
  bench.Finish(&report);
  return report.Finish() ? 0 : 1;
}

}  // namespace
}  // namespace paligemma::bench

int main(int argc, char** argv) { return paligemma::bench::Main(argc, argv); }
