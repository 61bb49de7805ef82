// SPDX-License-Identifier: Apache-2.0
// One model with its engine: the only place where an engine is composed from a bundle. The server,
// the benchmarks and other front ends use it alike.
//
// A host exists before its weights do, so that ports can be bound first:
//
//   Open(directory) -> LoadModel(host) -> Submit, Cancel, Stats -> Drain
//
// Until LoadModel() (core/host/load_model.h) has ended, requests are refused with MODEL_LOADING.
//
// Thread safety: thread safe. Sinks are called from the engine's delivery threads.
#ifndef CORE_HOST_MODEL_HOST_H_
#define CORE_HOST_MODEL_HOST_H_

#include <memory>
#include <string>
#include <string_view>

#include "core/base/clock.h"
#include "core/base/status.h"
#include "core/bundle/manifest.h"
#include "core/engine/dispatcher.h"
#include "core/host/backend.h"
#include "core/host/host_options.h"
#include "core/model/runner_options.h"
#include "core/request/engine_observer.h"
#include "core/request/validate.h"

namespace paligemma {

class ModelHost final : public Backend {
 public:
  // Reads the manifest and loads nothing. `observer` may be null; it and `clock` must outlive the
  // host.
  static StatusOr<std::unique_ptr<ModelHost>> Open(const std::string& directory,
                                                   const HostOptions& options,
                                                   EngineObserver* observer,
                                                   const Clock* clock = Clock::Real());
  // Makes a host for a manifest that was read already. `directory` may be empty if no model will be
  // loaded.
  ModelHost(std::string directory, Manifest manifest, const HostOptions& options,
            EngineObserver* observer, const Clock* clock = Clock::Real());

  // Ends the remaining requests with SERVER_DRAINING. Waits for a step in progress.
  ~ModelHost() override;
  ModelHost(const ModelHost&) = delete;
  ModelHost& operator=(const ModelHost&) = delete;

  // Starts the engine. REQUIRES: called once.
  void Start(Dispatcher::Parts parts, ModelSummary summary);

  StatusOr<Handle> Submit(Request request, std::shared_ptr<ResponseSink> sink) override;
  void Cancel(Handle handle) override { dispatcher_.Cancel(handle); }

  // Refuses new requests and waits for the accepted ones. At `deadline` ends those that are left
  // with SERVER_DRAINING. Returns true if no request had to be ended.
  bool Drain(TimePoint deadline) { return dispatcher_.Drain(deadline).ok(); }
  // Ends all accepted requests with SERVER_DRAINING. New requests are taken as before.
  void EndAll() { dispatcher_.EndAll(); }

  DispatcherStats Stats() const { return dispatcher_.Stats(); }

  const std::string& directory() const { return directory_; }
  const Manifest& manifest() const { return manifest_; }
  const std::string& name() const { return rules_.model_name; }  // "models/..."
  // Returns the options with the values that the host derived.
  const HostOptions& options() const { return options_; }
  // Describes the loaded model. REQUIRES: Start().
  const ModelSummary& Summary() const { return summary_; }
  // Returns the bytes of a token. REQUIRES: Start().
  std::string_view TokenBytes(TokenId token) const { return vocabulary_.bytes(token); }

 private:
  const std::string directory_;
  const Manifest manifest_;
  const HostOptions options_;
  RequestRules rules_;
  // Start() sets these before the first request, and nothing changes them later.
  ModelSummary summary_;
  Vocabulary vocabulary_;
  Dispatcher dispatcher_;  // last: its threads use what stands above
};

}  // namespace paligemma

#endif  // CORE_HOST_MODEL_HOST_H_
