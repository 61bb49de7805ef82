// SPDX-License-Identifier: Apache-2.0
// Composes the server and runs its life: bind, load, serve, drain.
#ifndef SERVER_SERVING_H_
#define SERVER_SERVING_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/base/mutex.h"
#include "core/base/status.h"
#include "core/host/model_host.h"
#include "core/metrics/metrics.h"
#include "core/model/device.h"
#include "server/api/served_model.h"
#include "server/http/management_server.h"
#include "server/life/drain.h"
#include "server/life/heap_trimmer.h"
#include "server/life/watchdog.h"
#include "server/services/grpc_server.h"

namespace paligemma {

class Serving {
 public:
  // Reads the manifest; loads nothing yet. `config` and `heartbeats` must outlive the object.
  static StatusOr<std::unique_ptr<Serving>> Create(const ServerConfig& config,
                                                   const DeviceChoice& device,
                                                   Heartbeats* heartbeats);
  // Does not drain. Cancels the calls that are left.
  ~Serving();

  // Binds both ports. Probes are answered from then on, and calls are refused with MODEL_LOADING.
  Status Bind();
  // Loads the weights, warms up, and becomes ready. Takes seconds to minutes, and cannot be
  // interrupted; Abandon() and Drain() may be called meanwhile.
  Status Load();
  // Returns true if the model is loaded and the server neither drains nor is stalled.
  bool ready() const { return lifecycle_.ready(); }
  // Ends the transport while Load() still runs, and returns within a second. The process must then
  // end without destructors.
  void Abandon();
  // Accepts calls for the drain delay although the probes say no. Then sends GOAWAY and lets the
  // calls in flight finish for the drain time-out. A signal ends this waiting and the calls.
  // Returns at the latest kLastWords after the time-out or the signal, whatever the engine, the
  // delivery or a client does. Threads of the server may still run then, so the process must end
  // without destructors. Returns true if no call had to be ended.
  bool Drain(const SignalWait& signal);

  const ServedModel& model() const { return *model_; }

 private:
  Serving(const ServerConfig& config, const DeviceChoice& device, const Manifest& manifest,
          std::unique_ptr<AuthTokens> tokens, Heartbeats* heartbeats);
  void SetPhase(Phase phase) PG_LOCKS_EXCLUDED(mutex_);
  void SetStalled(bool stalled) PG_LOCKS_EXCLUDED(mutex_);
  std::string MetricsText();
  // Returns when the certificate of new connections expires, in seconds since 1970; 0: no TLS.
  std::int64_t CertificateExpiry();
  void StartWatchdog();
  ManagementServer::Probe Liveness() const;

  const ServerConfig& config_;
  const DeviceChoice device_;
  Heartbeats* const heartbeats_;
  std::atomic<std::int64_t> certificate_expiry_ = 0;
  Lifecycle lifecycle_;
  std::unique_ptr<ServedModel> model_;
  AccessLog log_;
  std::unique_ptr<AuthTokens> tokens_;  // null: everybody may call
  std::unique_ptr<Metrics> metrics_;
  HeapTrimmer trimmer_;  // the watchdog's
  ServiceDependencies dependencies_;
  std::shared_ptr<ModelHost> host_;
  std::unique_ptr<ManagementServer> management_;
  std::unique_ptr<GrpcServer> grpc_;
  Mutex mutex_;  // orders phase and health
  std::unique_ptr<Watchdog> watchdog_;
};

}  // namespace paligemma

#endif  // SERVER_SERVING_H_
