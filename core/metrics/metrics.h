// SPDX-License-Identifier: Apache-2.0
// Every metric of the server: names, help and buckets stand in metrics.cc alone. Labels come from
// small closed sets, so that no client can make the number of series grow.
//
// Thread safety: thread safe. No method blocks on more than a short internal mutex.
#ifndef CORE_METRICS_METRICS_H_
#define CORE_METRICS_METRICS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/status.h"
#include "core/base/task.h"
#include "core/request/engine_observer.h"
#include "core/request/request.h"

namespace paligemma {

// Constant labels of this process.
struct MetricsInfo {
  std::string version, commit, torch, cuda;  // `cuda` is empty without a GPU
  std::string model, revision, dtype, device;
  // All RPCs that are served, such as {"paligemma.v1.PaliGemmaService", "Caption", "unary"}. Their
  // series exist from the start. Any other RPC counts as "other".
  struct Rpc {
    std::string service, method, type;
  };
  std::vector<Rpc> rpcs;
};

// Values that are read at each scrape.
struct MetricsGauges {
  int requests_waiting = 0, requests_running = 0;
  int kv_blocks_used = 0, kv_blocks_total = 0, kv_block_size = 0;
  std::int64_t connections_open = 0;
  std::int64_t log_lines_dropped = 0;  // since the start
  double tls_certificate_expiry = 0;   // in seconds since 1970; 0: no TLS
};

enum class Rejection {
  kOverloaded,
  kQuota,
  kDraining,
  kLoading,
  kInvalid,
  kTooLarge,
  kUnauthorized,
};

// The bound that a connection would have broken.
enum class ConnectionBound {
  kAll,          // connections in all
  kPeer,         // connections of one peer
  kDescriptors,  // the process's file descriptors
};

class Metrics final : public EngineObserver {
 public:
  explicit Metrics(const MetricsInfo& info);
  ~Metrics() override;

  // Counts a request that the engine accepted and that has ended.
  void RequestFinished(Task task, const Status& status, const Answer& result);
  // Counts a request that was refused.
  void RequestRejected(Rejection rejection);
  // Books the time between two deliveries of one stream, divided by the tokens of the later one.
  void TokensDelivered(Task task, Duration since_last, int num_tokens);

  // A connection to the gRPC port was closed as soon as it was accepted.
  void ConnectionRefused(ConnectionBound bound);

  // `service` and `method` as in MetricsInfo::rpcs; `code` is gRPC's number.
  void RpcStarted(std::string_view service, std::string_view method);
  void RpcHandled(std::string_view service, std::string_view method, int code, Duration duration);
  void RpcMessage(std::string_view service, std::string_view method, bool sent);

  void OnStep(const StepStats& stats) override;
  void OnPreemptions(int count) override;

  // Returns all metrics in the text format of Prometheus.
  std::string ExportText(const MetricsGauges& gauges);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace paligemma

#endif  // CORE_METRICS_METRICS_H_
