// SPDX-License-Identifier: Apache-2.0
// One call of our services beside its transport: its identity, its admission, its log line.
#ifndef SERVER_ACCESS_CALL_SESSION_H_
#define SERVER_ACCESS_CALL_SESSION_H_

#include <memory>
#include <string>
#include <string_view>

#include "core/base/heartbeat.h"
#include "core/metrics/metrics.h"
#include "server/access/access_log.h"
#include "server/access/auth_tokens.h"
#include "server/api/request_reader.h"
#include "server/api/served_model.h"
#include "server/config/server_config.h"
#include "server/life/lifecycle.h"
#include "server/rpc/call.h"

namespace paligemma {

// Of a call's metadata, counted as HTTP/2 does: 32 for each key besides its bytes.
inline constexpr int kMaxCallMetadata = 16 << 10;

// What every call needs; lives as long as the server.
struct ServiceDependencies {
  const ServerConfig* config = nullptr;
  const Lifecycle* lifecycle = nullptr;
  const ServedModel* model = nullptr;
  const AccessLog* log = nullptr;
  Metrics* metrics = nullptr;        // may be null
  AuthTokens* tokens = nullptr;      // null: everybody may call
  Heartbeats* heartbeats = nullptr;  // of the threads that serve; may be null

  // Bytes of one message: twice the images' limit, so that a size error is ours and names its
  // field.
  std::int64_t ReceiveLimit() const {
    return 2 * config->host.image_limits.max_bytes * model->manifest().image.max_count + (1 << 20);
  }
};

// Thread compatible: the arrival's thread fills it, then the sink's calls, one at a time.
class CallSession {
 public:
  // `service` and `rpc` as in the metrics: "paligemma.v1.PaliGemmaService", "Caption".
  CallSession(const ServiceDependencies& dependencies, const rpc::Call& call,
              std::string_view service, std::string rpc);

  const std::string& request_id() const { return record_.request_id; }

  // Whether the client may call, and its metadata is within kMaxCallMetadata. OK for everybody when
  // there are no tokens.
  Status Authenticate(const rpc::Call& call, Right right);
  // Whether the server takes calls now; and the loaded model then.
  StatusOr<std::shared_ptr<const ServedModel::Loaded>> Admit() const;

  // Fills in what comes from the transport: id, deadline; keeps what the response will need. After
  // it the engine has the request, or refused it.
  void Accept(const rpc::Call& call, ParsedRequest* parsed);
  const ResponseContext& response_context() const { return context_; }

  // What the result says of cost and time, for the log.
  void Note(const Answer& result);
  // The engine took the request.
  void NoteAccepted() { accepted_ = true; }
  void NoteRefused() { accepted_ = false; }
  // Tokens that a stream just got.
  void NoteDelta(int num_tokens);
  // Time that went into making the response, written into it and kept for log and metrics. `info`
  // may be null. After Note().
  void NotePostprocess(Duration spent, v1::GenerationInfo* info);
  // A message of a stream was lined up.
  void NoteMessage();

  // OK, or RESPONSE_TOO_LARGE.
  Status CheckSize(size_t bytes) const;

  // What the transport sends.
  struct Outcome {
    grpc::Status status;
    rpc::Trailers trailers;
  };
  // Ends the session: writes its line and counts it.
  Outcome Finish(const Status& status, size_t response_bytes);
  // The same in two steps, for an answer that has yet to reach its reader: Record() says how it
  // ended, once.
  Outcome Conclude(const Status& status, size_t response_bytes);
  void Record(const Status& status);

 private:
  // Of a cancelled call: whether the client cancelled it, or its deadline did.
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
