// SPDX-License-Identifier: Apache-2.0
// A bundle as the server serves it, in this process: the engine for who calls it directly, and gRPC
// in front of the same engine for who calls over a socket.
#ifndef BENCHMARKS_SERVED_BUNDLE_H_
#define BENCHMARKS_SERVED_BUNDLE_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "core/engine/dispatcher.h"
#include "core/text/tokenizer.h"
#include "server/grpc_server.h"

namespace paligemma::bench {

// What the engine did since it began. Thread safe.
struct StepCounts : EngineObserver {
  void OnStep(const StepStats& stats) override {
    ++steps;
    model_ns += (stats.vision + stats.model).count();
  }
  std::atomic<std::int64_t> steps{0}, model_ns{0};
};

class ServedBundle {
 public:
  struct Options {
    std::string directory, kv_dtype = "auto";
    int num_threads = 1, max_running = 64;
  };
  // Takes seconds. Sets up the process's logging, from warnings on. Errors are one line.
  static StatusOr<std::unique_ptr<ServedBundle>> Load(const Options& options);
  ~ServedBundle();

  // Owned by this, as what follows; both are thread safe.
  Dispatcher& engine() { return *dispatcher_; }
  const StepCounts& steps() const { return steps_; }
  std::string address() const { return "127.0.0.1:" + std::to_string(grpc_->port()); }
  std::string cpu_isa() const { return cpu_isa_; }
  std::string name() const { return model_->name(); }

 private:
  ServedBundle(const Options& options, Manifest manifest);
  Status Start(const Options& options);

  ServerConfig config_;
  Lifecycle lifecycle_;
  StepCounts steps_;
  std::string cpu_isa_;
  std::unique_ptr<ServedModel> model_;
  std::unique_ptr<AccessLog> log_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::shared_ptr<Dispatcher> dispatcher_;
  ServiceDependencies dependencies_;
  std::unique_ptr<GrpcServer> grpc_;
};

}  // namespace paligemma::bench

#endif  // BENCHMARKS_SERVED_BUNDLE_H_
