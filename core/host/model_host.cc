// SPDX-License-Identifier: Apache-2.0
#include "core/host/model_host.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "core/base/cgroup.h"

namespace paligemma {
namespace {

HostOptions Derived(HostOptions options, const Manifest& manifest) {
  if (options.num_threads <= 0) {
    options.num_threads =
        GrantedCpus(ReadCgroupLimits(), static_cast<int>(std::thread::hardware_concurrency()));
  }
  DispatcherOptions& dispatcher = options.dispatcher;
  // One more thread takes small pictures alone.
  dispatcher.num_preprocess_threads = std::clamp(options.num_threads / 2, 1, 8) + 1;
  dispatcher.num_postprocess_threads = std::clamp(options.num_threads / 2, 1, 4);
  AdmissionOptions& admission = dispatcher.admission;
  admission.tokens_per_image = manifest.image.tokens;
  if (admission.max_queued_tokens == 0) {
    constexpr std::int64_t kTextTokens = 64;  // a prompt's text is short beside its picture
    admission.max_queued_tokens = admission.max_queued * (manifest.image.tokens + kTextTokens);
  }
  options.runner.num_threads = options.num_threads;
  options.runner.kv_cache_bytes = options.kv_cache_mib << 20;
  options.runner.max_sequences = dispatcher.scheduler.max_running;
  options.runner.max_vision_batch = dispatcher.scheduler.max_vision_batch;
  return options;
}

}  // namespace

StatusOr<std::unique_ptr<ModelHost>> ModelHost::Open(const std::string& directory,
                                                     const HostOptions& options,
                                                     EngineObserver* observer, const Clock* clock) {
  PG_ASSIGN_OR_RETURN(Manifest manifest, LoadManifest(directory));
  return std::make_unique<ModelHost>(directory, std::move(manifest), options, observer, clock);
}

ModelHost::ModelHost(std::string directory, Manifest manifest, const HostOptions& options,
                     EngineObserver* observer, const Clock* clock)
    : directory_(std::move(directory)),
      manifest_(std::move(manifest)),
      options_(Derived(options, manifest_)),
      dispatcher_(options_.dispatcher, observer, clock) {
  rules_.manifest = &manifest_;
  rules_.model_name = ModelName(manifest_, options_);
  rules_.image_limits = options_.image_limits;
  rules_.allow_ignore_eos = options_.allow_ignore_eos;
}

ModelHost::~ModelHost() = default;

void ModelHost::Start(Dispatcher::Parts parts, ModelSummary summary) {
  summary_ = std::move(summary);
  vocabulary_ = parts.vocabulary;
  dispatcher_.Start(std::move(parts));
}

StatusOr<Backend::Handle> ModelHost::Submit(Request request, std::shared_ptr<ResponseSink> sink) {
  PG_RETURN_IF_ERROR(ValidateRequest(rules_, &request));
  return dispatcher_.Submit(std::move(request), std::move(sink));
}

}  // namespace paligemma
