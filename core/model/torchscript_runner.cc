// SPDX-License-Identifier: Apache-2.0
#include "core/model/torchscript_runner.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <deque>
#include <utility>

#include "core/base/clock.h"
#include "core/cpu/context.h"
#include "core/model/bundle_loader.h"
#include "core/model/image_cache.h"
#include "core/model/sampling_inputs.h"
#include "core/model/step_inputs.h"
#include "core/model/torch_errors.h"

namespace paligemma {
namespace {

StatusOr<at::ScalarType> KvType(const TorchScriptRunner::Options& options) {
  if (options.kv_dtype == "float32") {
    return at::kFloat;
  }
  if (options.kv_dtype == "bfloat16") {
    return at::kBFloat16;
  }
  if (options.kv_dtype == "int8") {
    return at::kChar;
  }
  if (options.kv_dtype == "auto") {
    return options.manifest.dtype == "bfloat16" ? at::kBFloat16 : at::kFloat;
  }
  return InvalidField("kv-cache-dtype", options.kv_dtype, "auto, float32, bfloat16 or int8",
                      "is not supported");
}

const char* KvTypeName(at::ScalarType type) {
  return type == at::kFloat ? "float32" : type == at::kBFloat16 ? "bfloat16" : "int8";
}

Status CheckOptions(const TorchScriptRunner::Options& options) {
  if (options.kv_block_size < 1 || options.kv_block_size > 1024) {
    return InvalidField("kv-block-size", std::to_string(options.kv_block_size), "1 to 1024",
                        "is out of range");
  }
  if (options.num_threads < 1) {
    return InvalidField("threads", std::to_string(options.num_threads), "at least 1",
                        "is out of range");
  }
  return OkStatus();
}

at::Tensor Ints(const std::vector<std::int32_t>& values, c10::Device device) {
  at::Tensor tensor = at::empty({static_cast<std::int64_t>(values.size())}, at::kInt);
  std::copy(values.begin(), values.end(), tensor.mutable_data_ptr<int>());
  return tensor.to(device);
}

StatusOr<KvCachePlan> PlanFor(const TorchScriptRunner::Options& options, at::ScalarType type) {
  KvCacheRequest request;
  request.block_size = options.kv_block_size;
  request.bytes_per_value = static_cast<int>(c10::elementSize(type));
  request.bytes_per_scale = type == at::kChar ? sizeof(float) : 0;
  request.max_sequences = options.max_sequences;
  request.budget_bytes = options.kv_cache_bytes;
  if (options.num_kv_blocks > 0) {
    KvCachePlan plan;
    plan.num_blocks = options.num_kv_blocks;
    plan.bytes_per_block = KvBytesPerBlock(options.manifest.architecture, request);
    plan.arithmetic = std::to_string(options.num_kv_blocks) + " blocks, as set";
    return plan;
  }
  request.available_bytes = FreeDeviceBytes(options.device);
  return PlanKvCache(options.manifest, request);
}

// The CPU kernels of one runner and the threads that they run on.
struct CpuKernels {
  CpuKernels(cpu::Isa isa, int num_threads) : pool(num_threads), context{isa, &pool} {}
  cpu::ThreadPool pool;
  const cpu::Context context;
};

}  // namespace

class TorchScriptRunner::Impl {
 public:
  Impl(Options options, std::unique_ptr<CpuKernels> kernels, LoadedModule vision,
       LoadedModule decoder)
      : options_(std::move(options)),
        kernels_(std::move(kernels)),
        device_(options_.device.ToString()),
        decoder_(std::move(decoder.module)),
        images_(std::move(vision.module), ImageOptions(options_), device_) {
    summary_.vision_parameters = vision.parameters;
    summary_.decoder_parameters = decoder.parameters;
    summary_.weight_bytes = vision.bytes + decoder.bytes;
    summary_.load_seconds = vision.seconds + decoder.seconds;
    summary_.image_cache_bytes = images_.bytes();
    if (device_.is_cpu()) {
      summary_.cpu_isa = cpu::IsaName(kernels_->context.isa);
      summary_.cpu_isa_reason = cpu::WhyIsa(options_.cpu_isa);
    }
  }

  // Makes the KV tensors, which wait for the weights: what is free is then known.
  Status AllocateKv() {
    PG_ASSIGN_OR_RETURN(const at::ScalarType type, KvType(options_));
    PG_ASSIGN_OR_RETURN(summary_.kv, PlanFor(options_, type));
    summary_.kv_dtype = KvTypeName(type);
    const Architecture& model = options_.manifest.architecture;
    // Never cleared: no page is read before it is written.
    std::vector<std::int64_t> rows = {model.layers, 2, summary_.kv.num_blocks, model.kv_heads,
                                      options_.kv_block_size};
    const at::TensorOptions floats = at::TensorOptions(at::kFloat).device(device_);
    kv_scale_ = type == at::kChar ? at::empty(rows, floats) : at::empty({0}, floats);
    rows.push_back(model.head_dim);
    kv_ = at::empty(rows, floats.dtype(type));
    return OkStatus();
  }

  Status Run(const Batch& batch) {
    const c10::InferenceMode inference;
    const cpu::ContextScope kernels(kernels_->context);
    bool succeeded = false;
    const Status status = CatchTorchErrors("model step", [&]() -> Status {
      StepResult result = RunStep(batch);
      previous_tokens_.clear();
      for (const StepOutput& output : result.outputs) {
        previous_tokens_.push_back(output.token);
      }
      results_.push_back(std::move(result));
      succeeded = true;
      return OkStatus();
    });
    images_.EndStep(succeeded);
    return status;
  }

  StepResult TakeResult() {
    PG_CHECK(!results_.empty()) << "Finish() without Start()";
    StepResult result = std::move(results_.front());
    results_.pop_front();
    return result;
  }

  const Options& options() const { return options_; }
  const ModelSummary& summary() const { return summary_; }

 private:
  static ImageCache::Options ImageOptions(const Options& options) {
    ImageCache::Options images;
    images.num_images = options.image_cache_images;
    images.tokens_per_image = options.manifest.image.tokens;
    images.hidden = options.manifest.architecture.hidden;
    images.max_vision_batch = options.max_vision_batch;
    return images;
  }

  StepResult RunStep(const Batch& batch) {
    const Clock* clock = Clock::Real();
    StepResult result;
    const TimePoint start = clock->Now();
    const ImageCache::Encoded encoded = images_.Encode(batch);
    const TimePoint encoded_at = clock->Now();
    result.vision = encoded_at - start;
    const Architecture& model = options_.manifest.architecture;
    const at::Tensor hidden = Forward(
        BuildStepInputs(batch, encoded.first_rows, previous_tokens_, options_.kv_block_size));
    result.outputs =
        Sample(decoder_, hidden, BuildSamplingInputs(batch, model.vocab, previous_tokens_), batch,
               model.vocab, model.final_softcap);
    for (std::size_t i = 0; i < result.outputs.size(); ++i) {
      result.outputs[i].num_cached_images = encoded.num_cached[i];
    }
    result.model = clock->Now() - encoded_at;
    return result;
  }

  at::Tensor Forward(const StepInputs& inputs) {
    const auto num_cached = static_cast<std::int64_t>(inputs.context.size());
    return decoder_
        .get_method("forward")(
            {Ints(inputs.ids, device_), Ints(inputs.positions, device_),
             Ints(inputs.slots, device_), images_.rows(), kv_, kv_scale_,
             Ints(inputs.prefill_start, device_), c10::List<std::int64_t>(inputs.prefill_lengths),
             Ints(inputs.block_table, device_).view({num_cached, inputs.table_width}),
             Ints(inputs.context, device_), Ints(inputs.rows, device_), c10::List<at::Tensor>(),
             Ints({}, device_)})
        .toTensor();
  }

  const Options options_;
  const std::unique_ptr<CpuKernels> kernels_;
  const c10::Device device_;
  torch::jit::Module decoder_;
  ImageCache images_;
  at::Tensor kv_;        // [L,2,blocks,kv_heads,B,head_dim]
  at::Tensor kv_scale_;  // int8: [L,2,blocks,kv_heads,B]; else empty
  std::vector<TokenId> previous_tokens_;
  std::deque<StepResult> results_;
  ModelSummary summary_;
};

TorchScriptRunner::TorchScriptRunner(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TorchScriptRunner::~TorchScriptRunner() = default;

StatusOr<std::unique_ptr<TorchScriptRunner>> TorchScriptRunner::Load(Options options) {
  PG_RETURN_IF_ERROR(CheckOptions(options));
  PG_RETURN_IF_ERROR(KvType(options).status());
  PG_ASSIGN_OR_RETURN(const cpu::Isa isa, cpu::ChooseIsa(options.cpu_isa));
  // Two teams of threads would fight for the same cores: torch's rests where the kernels have one.
  at::set_num_threads(isa == cpu::Isa::kReference ? options.num_threads : 1);
  const c10::InferenceMode inference;
  auto kernels = std::make_unique<CpuKernels>(isa, options.num_threads);
  const cpu::ContextScope scope(kernels->context);
  const BundleLoader loader(options.bundle_dir, options.manifest, options.device,
                            options.num_threads);
  PG_ASSIGN_OR_RETURN(LoadedModule vision, loader.LoadVision());
  PG_ASSIGN_OR_RETURN(LoadedModule decoder, loader.LoadDecoder());
  std::unique_ptr<Impl> impl;
  PG_RETURN_IF_ERROR(CatchTorchErrors("the model's memory", [&]() -> Status {
    impl = std::make_unique<Impl>(std::move(options), std::move(kernels), std::move(vision),
                                  std::move(decoder));
    return impl->AllocateKv();
  }));
  return std::unique_ptr<TorchScriptRunner>(new TorchScriptRunner(std::move(impl)));
}

Status TorchScriptRunner::Start(const Batch& batch) { return impl_->Run(batch); }
StatusOr<StepResult> TorchScriptRunner::Finish() { return impl_->TakeResult(); }
int TorchScriptRunner::num_kv_blocks() const { return impl_->summary().kv.num_blocks; }
int TorchScriptRunner::kv_block_size() const { return impl_->options().kv_block_size; }
const ModelSummary& TorchScriptRunner::summary() const { return impl_->summary(); }

Status TorchScriptRunner::WarmUp() {
  const Manifest& manifest = impl_->options().manifest;
  const int side = manifest.image.size;
  Sequence sequence;
  PreparedImage image;
  image.size = side;
  image.use_cache = false;
  image.pixels = std::make_shared<const std::vector<std::uint8_t>>(
      static_cast<std::size_t>(side) * side * 3, std::uint8_t{127});
  sequence.images = {image};
  sequence.tokens_per_image = manifest.image.tokens;
  sequence.prompt = {manifest.tokens.bos, manifest.tokens.newline};
  sequence.output = {manifest.tokens.bos, manifest.tokens.bos};
  sequence.max_tokens = 3;
  const int positions = sequence.num_prompt_tokens() + 2;
  BatchRow row;
  row.sequence = &sequence;
  row.prefill = true;
  row.num_cached = 2;
  row.output_index = 2;
  for (int i = 0; i * kv_block_size() < positions; ++i) {
    row.block_table.push_back(i);
  }
  if (static_cast<int>(row.block_table.size()) > num_kv_blocks()) {
    return OkStatus();  // a cache of tests, too small for an image
  }
  Batch batch;
  batch.num_tokens = positions;
  batch.num_images = 1;
  batch.rows.push_back(std::move(row));
  PG_RETURN_IF_ERROR(Start(batch));
  return Finish().status();
}

}  // namespace paligemma
