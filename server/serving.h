// SPDX-License-Identifier: Apache-2.0
// The server's life: bind, load, serve, drain.
#ifndef SERVER_SERVING_H_
#define SERVER_SERVING_H_

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "core/base/mutex.h"
#include "core/base/status.h"
#include "core/engine/dispatcher.h"
#include "core/metrics/metrics.h"
#include "core/model/device.h"
#include "core/model/torchscript_mask_decoder.h"
#include "core/text/tokenizer.h"
#include "server/grpc_server.h"
#include "server/management_server.h"
#include "server/served_model.h"

namespace paligemma {

// What --version prints first.
const char* ServerVersion();

class Serving {
 public:
  // Reads the manifest; loads nothing yet.
  static StatusOr<std::unique_ptr<Serving>> Create(const ServerConfig& config,
                                                   const DeviceChoice& device);
  // Drains nothing: calls that are left are cancelled.
  ~Serving();

  // Binds both ports; from then on probes are answered and calls are told MODEL_LOADING.
  Status Bind();
  // Loads the weights, warms up, and becomes ready. Takes seconds to minutes.
  Status Load();
  // Not ready but accepting for the drain delay, then GOAWAY and the calls in flight. `stop` is
  // polled: true ends the waiting. False when calls had to be cancelled.
  bool Drain(const std::function<bool(std::chrono::milliseconds)>& stop);

  const ServedModel& model() const { return *model_; }

 private:
  Serving(const ServerConfig& config, const DeviceChoice& device, Manifest manifest);
  void SetPhase(Phase phase);
  void LogSummary(const struct ModelSummary& summary, double seconds) const;
  std::string MetricsText();
  // Fails liveness once when the engine is busy and no step ends in time.
  void Watch();

  const ServerConfig& config_;
  const DeviceChoice device_;
  int num_threads_ = 1;
  Lifecycle lifecycle_;
  std::unique_ptr<ServedModel> model_;
  AccessLog log_;
  std::unique_ptr<Metrics> metrics_;
  ServiceDependencies dependencies_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<MaskDecoder> mask_decoder_;
  std::shared_ptr<Dispatcher> dispatcher_;
  std::unique_ptr<ManagementServer> management_;
  std::unique_ptr<GrpcServer> grpc_;
  Mutex mutex_;
  CondVar stopped_;
  bool stopping_ PG_GUARDED_BY(mutex_) = false;
  std::thread watchdog_;
};

}  // namespace paligemma

#endif  // SERVER_SERVING_H_
