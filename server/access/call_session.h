// SPDX-License-Identifier: Apache-2.0
// The record of one call, apart from its transport: who calls, whether the call is admitted, and
// the line of the access log. A session is filled while the call runs and closed once.
#ifndef SERVER_ACCESS_CALL_SESSION_H_
#define SERVER_ACCESS_CALL_SESSION_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/heartbeat.h"
#include "core/metrics/metrics.h"
#include "server/access/access_log.h"
#include "server/access/auth_tokens.h"
#include "server/api/request_reader.h"
#include "server/api/served_model.h"
#include "server/config/server_config.h"
#include "server/life/lifecycle.h"
#include "server/net/ip_address.h"
#include "server/rpc/call.h"

namespace paligemma {

// Bytes of a call's metadata. HTTP/2 counts 32 bytes for each key besides the bytes themselves.
inline constexpr int kMaxCallMetadata = 16 << 10;

// Everything that a call needs from the server. Lives as long as the server.
struct ServiceDependencies {
  const ServerConfig* config = nullptr;
  const Lifecycle* lifecycle = nullptr;
  const ServedModel* model = nullptr;
  const AccessLog* log = nullptr;
  Metrics* metrics = nullptr;        // may be null
  AuthTokens* tokens = nullptr;      // null: everybody may call
  Heartbeats* heartbeats = nullptr;  // of the threads that serve; may be null
  std::vector<net::IpRange> trusted_proxies = {};

  // Returns the most bytes of one message: twice the limit of images. An image that is too large
  // thus reaches our own check, whose error names the field.
  std::int64_t ReceiveLimit() const {
    return 2 * config->host.image_limits.max_bytes * model->manifest().image.max_count + (1 << 20);
  }
};

// Thread compatible. The thread of the arrival uses the session first, then the sink does, one
// thread at a time.
class CallSession {
 public:
  // `service` and `rpc` as in the metrics: "paligemma.v1.PaliGemmaService", "Caption".
  CallSession(const ServiceDependencies& dependencies, const rpc::Call& call,
              std::string_view service, std::string rpc);

  const std::string& request_id() const { return record_.request_id; }

  // Returns OK if the client may call and its metadata is within kMaxCallMetadata. Without tokens
  // every client may call.
  Status Authenticate(const rpc::Call& call, Right right);
  // Returns the loaded model, or why the server takes no calls now.
  StatusOr<std::shared_ptr<const ServedModel::Loaded>> Admit() const;

  // Fills in the id and the deadline, which come from the transport, and keeps what the response
  // will need. Call it just before the request goes to the engine.
  void Accept(const rpc::Call& call, ParsedRequest* parsed);
  const ResponseContext& response_context() const { return context_; }

  // Keeps the answer's cost and times for log and metrics.
  void Note(const Answer& result);
  // The engine took the request.
  void NoteAccepted() { accepted_ = true; }
  void NoteRefused() { accepted_ = false; }
  // Counts tokens that a stream has just got.
  void NoteDelta(int num_tokens);
  // Adds the time that making the response took to `info`, which may be null, and to log and
  // metrics. REQUIRES: Note().
  void NotePostprocess(Duration spent, v1::GenerationInfo* info);
  // Counts a message that a stream has queued.
  void NoteMessage();

  // Returns RESPONSE_TOO_LARGE if a response may not have so many bytes.
  Status CheckSize(size_t bytes) const;

  // What the transport sends.
  struct Outcome {
    grpc::Status status;
    rpc::Trailers trailers;
  };
  // Ends the session: writes its line and counts it.
  Outcome Finish(const Status& status, size_t response_bytes);
  // Does the same in two steps, for an answer that has yet to reach its reader. Call Record() once,
  // when it is known how the call ended.
  Outcome Conclude(const Status& status, size_t response_bytes);
  void Record(const Status& status);

 private:
  // Returns whether a cancelled call was cancelled by its client or by its deadline.
  Status CauseOf(const Status& status, TimePoint now) const;
  void Count();

  const ServiceDependencies& dependencies_;
  const std::string_view service_;
  const TimePoint started_;
  bool accepted_ = false;
  TimePoint deadline_ = TimePoint::max();
  TimePoint last_delta_{};
  AccessRecord record_;
  ResponseContext context_;
  Answer spent_;  // usage, timing and finish reasons only
  std::shared_ptr<const AuthTokens::Pass> pass_;
  bool streamed_ = false;
};

}  // namespace paligemma

#endif  // SERVER_ACCESS_CALL_SESSION_H_
