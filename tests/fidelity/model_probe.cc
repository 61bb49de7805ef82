// SPDX-License-Identifier: Apache-2.0
// Lets the fidelity suite ask the engine and the modules of a bundle directly: one JSON request on
// each line of standard input, one JSON answer on each line of standard output. Pixels (RGB bytes)
// and tensors (float32, in order) go by file. Usage: model_probe BUNDLE ISA
#include <ATen/ops/empty.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/mutex.h"
#include "core/cpu/context.h"
#include "core/engine/engine.h"
#include "core/model/bundle_loader.h"
#include "core/model/ops/matrix.h"
#include "core/model/sampling_inputs.h"
#include "core/model/step_inputs.h"
#include "core/model/torchscript_runner.h"

namespace paligemma {
namespace {

using Json = nlohmann::json;

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  PG_CHECK(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

template <typename T>
T Check(StatusOr<T> value) {
  PG_CHECK(value.ok()) << value.status().ToString();
  return *std::move(value);
}

// {pixels, prompt, output, and what SamplingParams has} -> a sequence that is not started.
std::unique_ptr<Sequence> MakeSequence(const Json& request, const Manifest& manifest) {
  auto sequence = std::make_unique<Sequence>();
  if (request.contains("pixels")) {
    const std::string bytes = ReadFile(request.at("pixels"));
    PreparedImage image;
    image.size = manifest.image.size;
    image.pixels = std::make_shared<const std::vector<std::uint8_t>>(bytes.begin(), bytes.end());
    const std::size_t hash = std::hash<std::string>{}(bytes);
    std::memcpy(image.key.data(), &hash, sizeof(hash));
    sequence->images = {image};
    sequence->tokens_per_image = manifest.image.tokens;
  }
  sequence->prompt = request.at("prompt").get<std::vector<TokenId>>();
  sequence->output = request.value("output", std::vector<TokenId>());
  sequence->eos = manifest.tokens.eos;
  sequence->max_tokens = request.value("max_tokens", 1);
  sequence->seed = request.value("seed", std::uint64_t{0});
  sequence->logprobs = request.value("logprobs", -1);
  SamplingParams& sampling = sequence->sampling;
  sampling.min_tokens = request.value("min_tokens", 0);
  sampling.temperature = request.value("temperature", 0.0f);
  sampling.top_p = request.value("top_p", 1.0f);
  sampling.min_p = request.value("min_p", 0.0f);
  sampling.top_k = request.value("top_k", 0);
  sampling.repetition_penalty = request.value("repetition_penalty", 1.0f);
  return sequence;
}

// An output as [token, log-probability, [[token, log-probability], ...]].
Json ToJson(const StepOutput& output) {
  Json top = Json::array();
  for (const TokenAlternative& other : output.top) {
    top.push_back({other.token, other.logprob});
  }
  return {output.token, output.logprob, top};
}

// Gathers what each sequence yields, and tells when all have ended.
class Gatherer : public EventReceiver, public EngineObserver {
 public:
  explicit Gatherer(std::size_t count) : answers_(count), left_(count) {}

  void OnEvents(std::vector<StepEvent> events, TimePoint /*when*/) override {
    const MutexLock lock(&mutex_);
    for (const StepEvent& event : events) {
      PG_CHECK(event.status.ok()) << event.status.ToString();
      if (event.has_token) {
        answers_.at(event.sequence - 1).push_back(ToJson(event.output));
      }
      left_ -= event.finished ? 1 : 0;
    }
    ended_.NotifyOne();
  }
  void OnStep(const StepStats& stats) override {
    const MutexLock lock(&mutex_);
    largest_batch_ = std::max(largest_batch_, stats.num_rows);
  }
  void OnPreemptions(int count) override {
    const MutexLock lock(&mutex_);
    preemptions_ += count;
  }

  Json Await() {
    const MutexLock lock(&mutex_);
    while (left_ > 0) {
      ended_.Wait(&mutex_);
    }
    return {
        {"answers", answers_}, {"preemptions", preemptions_}, {"largest_batch", largest_batch_}};
  }

 private:
  Mutex mutex_;
  CondVar ended_;
  std::vector<Json> answers_ PG_GUARDED_BY(mutex_);
  std::size_t left_ PG_GUARDED_BY(mutex_);
  int preemptions_ PG_GUARDED_BY(mutex_) = 0, largest_batch_ PG_GUARDED_BY(mutex_) = 0;
};

class ModelProbe {
 public:
  ModelProbe(std::string bundle, const std::string& isa)
      : bundle_(std::move(bundle)),
        isa_(isa),
        manifest_(Check(LoadManifest(bundle_))),
        context_{Check(cpu::ChooseIsa(isa)), nullptr} {}

  // {requests, blocks, block_size, threads, max_running, max_batch_tokens} -> {answers, each a list
  // of outputs, preemptions, largest_batch}: the scheduler and the runner, all requests at once.
  Json Generate(const Json& request) const {
    TorchScriptRunner::Options options;
    options.bundle_dir = bundle_;
    options.manifest = manifest_;
    options.cpu_isa = isa_;
    options.num_threads = request.value("threads", 1);
    options.num_kv_blocks = request.at("blocks");
    options.kv_block_size = request.value("block_size", 16);
    SchedulerOptions limits;
    limits.max_running = request.value("max_running", 64);
    limits.max_batch_tokens = request.value("max_batch_tokens", 8192);
    std::vector<std::unique_ptr<Sequence>> sequences;
    for (const Json& wanted : request.at("requests")) {
      sequences.push_back(MakeSequence(wanted, manifest_));
      sequences.back()->id = sequences.size();
    }
    Gatherer gatherer(sequences.size());
    Engine engine(limits, Check(TorchScriptRunner::Load(std::move(options))), &gatherer, &gatherer,
                  Clock::Real());
    for (const auto& sequence : sequences) {
      if (!engine.FitsEver(*sequence)) {
        return {{"error", "a request needs more blocks than there are"}};
      }
    }
    engine.Submit(std::move(sequences));
    return gatherer.Await();
  }

  // {pixels, prompt, output, out} -> {tensors: [[name, shape], ...]}: vision features, the
  // embedding and each layer's residual of all rows, then final norm and logits of the rows that
  // predict output[0], output[1], ... and what would follow; `output` enters as replayed tokens.
  Json Trace(const Json& request) {
    const c10::InferenceMode inference;
    const cpu::ContextScope kernels(context_);
    const BundleLoader loader(bundle_, manifest_, Device::Cpu(), 1);
    if (!vision_) {
      vision_ = Check(loader.LoadVision()).module;
      decoder_ = Check(loader.LoadDecoder()).module;
    }
    const auto sequence = MakeSequence(request, manifest_);
    std::vector<std::pair<std::string, at::Tensor>> found = {{"vision", Features(*sequence)}};
    const StepInputs inputs = WholeSequence(*sequence);
    const Architecture& model = manifest_.architecture;
    const std::int64_t length = static_cast<std::int64_t>(inputs.ids.size());
    const auto type = manifest_.dtype == "bfloat16" ? at::kBFloat16 : at::kFloat;  // as the runner
    const at::Tensor kv =
        at::zeros({model.layers, 2, 1, model.kv_heads, length, model.head_dim}, type);
    const auto call = [&](const char* method, const std::vector<std::int32_t>& rows) {
      return decoder_.get_method(method)(Arguments(inputs, found[0].second, kv, rows));
    };
    const auto states = call("trace", {}).toTensorVector();
    for (std::size_t i = 0; i < states.size(); ++i) {
      found.emplace_back("state." + std::to_string(i), states[i]);
    }
    std::vector<std::int32_t> rows;
    for (int row = sequence->num_prompt_tokens() - 1; row < length; ++row) {
      rows.push_back(row);
    }
    found.emplace_back("final_norm", call("forward", rows).toTensor());
    found.emplace_back("logits", decoder_.get_method("logits")({found.back().second}).toTensor());
    return Write(found, request.at("out"));
  }

  // {logits (file), vocab, softcap, requests} -> {outputs}: the sampler on stored logits, one row
  // for each request; the step's index is the length of the request's output.
  static Json SampleLogits(const Json& request) {
    const c10::InferenceMode inference;
    const std::string bytes = ReadFile(request.at("logits"));
    const std::int64_t vocab = request.at("vocab");
    const std::int64_t count = static_cast<std::int64_t>(request.at("requests").size());
    at::Tensor logits = at::empty({count, vocab});
    PG_CHECK(bytes.size() == logits.nbytes());
    std::memcpy(logits.mutable_data_ptr<float>(), bytes.data(), bytes.size());
    // A table that hands hidden states through.
    torch::jit::Module table("table"), decoder("decoder");
    const at::Tensor identity = at::eye(vocab);
    table.register_buffer("data", identity);
    table.register_buffer("scale", at::empty({0}));
    table.register_buffer("aux",
                          ops::MakeAux(ops::DescribeCanonical(identity, ops::Encoding::kFloat32)));
    decoder.register_module("embedding", table);
    Manifest manifest;
    manifest.tokens.eos = 1;
    std::vector<std::unique_ptr<Sequence>> sequences;
    Batch batch;
    for (const Json& wanted : request.at("requests")) {
      sequences.push_back(MakeSequence(wanted, manifest));
      BatchRow row;
      row.sequence = sequences.back().get();
      row.output_index = static_cast<int>(row.sequence->output.size());
      batch.rows.push_back(row);
    }
    const int width = static_cast<int>(vocab);
    const auto outputs = Sample(decoder, logits, BuildSamplingInputs(batch, width, {}), batch,
                                width, request.value("softcap", 0.0));
    Json answer = Json::array();
    for (const StepOutput& output : outputs) {
      answer.push_back(ToJson(output));
    }
    return {{"outputs", answer}};
  }

 private:
  at::Tensor Features(const Sequence& sequence) {
    const std::int64_t side = manifest_.image.size;
    at::Tensor pixels = at::empty({1, side, side, 3}, at::kByte);
    const auto& bytes = *sequence.images.at(0).pixels;
    PG_CHECK(bytes.size() == pixels.nbytes());
    std::memcpy(pixels.mutable_data_ptr<std::uint8_t>(), bytes.data(), bytes.size());
    return vision_->forward({pixels}).toTensor();
  }

  // The prefix in one prefill and the output replayed, all in one block.
  static StepInputs WholeSequence(const Sequence& sequence) {
    BatchRow row;
    row.sequence = &sequence;
    row.prefill = true;
    row.num_cached = row.output_index = static_cast<int>(sequence.output.size());
    row.block_table = {0};
    Batch batch;
    batch.rows.push_back(std::move(row));
    return BuildStepInputs(batch, {{0}}, {},
                           sequence.num_prompt_tokens() + static_cast<int>(sequence.output.size()));
  }

  static std::vector<c10::IValue> Arguments(const StepInputs& inputs, const at::Tensor& features,
                                            const at::Tensor& kv,
                                            const std::vector<std::int32_t>& rows) {
    const auto ints = [](const std::vector<std::int32_t>& values) {
      return at::tensor(values, at::kInt);
    };
    const auto cached = static_cast<std::int64_t>(inputs.context.size());
    return {ints(inputs.ids),
            ints(inputs.positions),
            ints(inputs.slots),
            features,
            kv,
            at::zeros({0}),
            ints(inputs.prefill_start),
            c10::List<std::int64_t>(inputs.prefill_lengths),
            ints(inputs.block_table).view({cached, inputs.table_width}),
            ints(inputs.context),
            ints(rows),
            c10::List<at::Tensor>(),
            at::zeros({0}, at::kInt)};
  }

  static Json Write(const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                    const std::string& path) {
    std::ofstream file(path, std::ios::binary);
    Json names = Json::array();
    for (const auto& [name, tensor] : tensors) {
      const at::Tensor values = tensor.to(at::kFloat).contiguous();
      file.write(static_cast<const char*>(values.const_data_ptr()),
                 static_cast<std::streamsize>(values.nbytes()));
      names.push_back({name, values.sizes().vec()});
    }
    return {{"tensors", names}};
  }

  const std::string bundle_, isa_;
  const Manifest manifest_;
  const cpu::Context context_;
  std::optional<torch::jit::Module> vision_;
  torch::jit::Module decoder_;
};

int Run(const std::string& bundle, const std::string& isa) {
  ModelProbe probe(bundle, isa);
  const std::map<std::string, std::function<Json(const Json&)>> operations = {
      {"generate", [&](const Json& request) { return probe.Generate(request); }},
      {"trace", [&](const Json& request) { return probe.Trace(request); }},
      {"sample", ModelProbe::SampleLogits}};
  for (std::string line; std::getline(std::cin, line);) {
    const Json request = Json::parse(line);
    std::cout << operations.at(request.at("op"))(request) << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace paligemma

int main(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "--isas") {
    for (const paligemma::cpu::Isa isa : paligemma::cpu::AvailableIsas()) {
      std::cout << paligemma::cpu::IsaName(isa) << '\n';
    }
    return 0;
  }
  if (argc != 3) {
    std::cerr << "usage: model_probe BUNDLE ISA | --isas\n";
    return 2;
  }
  return paligemma::Run(argv[1], argv[2]);
}
