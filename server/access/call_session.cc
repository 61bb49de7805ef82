// SPDX-License-Identifier: Apache-2.0
#include "server/access/call_session.h"

#include <algorithm>
#include <charconv>

#include "core/request/endings.h"
#include "server/api/status_mapping.h"

namespace paligemma {
namespace {

constexpr size_t kMaxPeerBytes = 64;
// A client's deadline may pass at the client before it passes here: its library rounds the deadline
// that it sends up by at most a hundredth, and resets the call by its own clock.
constexpr int kRoundedShare = 100;
constexpr std::chrono::milliseconds kClockError{5};

// Returns the label under which a refusal is counted.
Rejection RejectionOf(Reason reason) {
  switch (reason) {
    case Reason::kServerOverloaded:
      return Rejection::kOverloaded;
    case Reason::kQuotaExceeded:
      return Rejection::kQuota;
    case Reason::kServerDraining:
      return Rejection::kDraining;
    case Reason::kModelLoading:
      return Rejection::kLoading;
    case Reason::kCredentialsInvalid:
    case Reason::kPermissionDenied:
      return Rejection::kUnauthorized;
    case Reason::kImageTooLarge:
    case Reason::kPromptTooLong:
      return Rejection::kTooLarge;
    default:
      return Rejection::kInvalid;
  }
}

// Returns when the engine must give up: at the client's deadline or at ours.
TimePoint DeadlineOf(const grpc::ServerContext& context, TimePoint now,
                     const ServerConfig& config) {
  const auto wall = context.deadline();
  if (wall == std::chrono::system_clock::time_point::max()) return now + config.default_deadline;
  const auto left = wall - std::chrono::system_clock::now();
  if (left >= config.max_deadline) return now + config.max_deadline;
  return now + std::chrono::duration_cast<Duration>(left);
}

// Returns the client's address for the log: the transport's peer, or what a trusted proxy says.
std::string PeerOf(const rpc::Call& call, const std::vector<net::IpRange>& proxies) {
  std::string peer = call.context().peer().substr(0, kMaxPeerBytes);
  if (proxies.empty()) return peer;
  const auto address = net::AddressOfPeer(peer);
  if (!address.has_value() || !net::ContainedIn(proxies, *address)) return peer;
  std::string forwarded;
  const auto [begin, end] = call.context().client_metadata().equal_range("x-forwarded-for");
  for (auto it = begin; it != end; ++it) {
    if (!forwarded.empty()) forwarded += ',';
    forwarded.append(it->second.data(), it->second.length());
  }
  const auto client = net::ForwardedClient(proxies, forwarded);
  if (!client.has_value()) return peer;
  return (client->is_v4() ? "ipv4:" : "ipv6:") + client->ToString();
}

Status CheckMetadata(const rpc::Call& call) {
  constexpr size_t kEntryBytes = 32;
  size_t bytes = 0;
  for (const auto& [key, value] : call.context().client_metadata()) {
    bytes += key.length() + value.length() + kEntryBytes;
  }
  if (bytes <= kMaxCallMetadata) return OkStatus();
  return InvalidField(
      "metadata", std::to_string(bytes), std::to_string(kMaxCallMetadata),
      "has " + std::to_string(bytes) + " bytes, limit " + std::to_string(kMaxCallMetadata));
}

int AttemptOf(const rpc::Call& call) {
  const std::string text = call.Metadata("grpc-previous-rpc-attempts");
  int attempt = 0;
  std::from_chars(text.data(), text.data() + text.size(), attempt);
  return std::clamp(attempt, 0, 100);
}

}  // namespace

CallSession::CallSession(const ServiceDependencies& dependencies, const rpc::Call& call,
                         std::string_view service, std::string rpc)
    : dependencies_(dependencies), service_(service), started_(Clock::Real()->Now()) {
  record_.rpc = std::move(rpc);
  record_.request_id = RequestIdOr(call.Metadata("x-request-id"));
  record_.trace_id = TraceIdOf(call.Metadata("traceparent"));
  record_.peer = PeerOf(call, dependencies_.trusted_proxies);
  record_.model = dependencies_.model->name();
  record_.attempt = AttemptOf(call);
  if (dependencies_.metrics == nullptr) return;
  dependencies_.metrics->RpcStarted(service_, record_.rpc);
  dependencies_.metrics->RpcMessage(service_, record_.rpc, /*sent=*/false);
}

Status CallSession::Authenticate(const rpc::Call& call, Right right) {
  PG_RETURN_IF_ERROR(CheckMetadata(call));
  if (dependencies_.tokens == nullptr) return OkStatus();
  PG_ASSIGN_OR_RETURN(pass_, dependencies_.tokens->Admit(call.Metadata("authorization"), right));
  record_.tenant = pass_->tenant();
  return OkStatus();
}

StatusOr<std::shared_ptr<const ServedModel::Loaded>> CallSession::Admit() const {
  PG_RETURN_IF_ERROR(dependencies_.lifecycle->Admit());
  auto loaded = dependencies_.model->loaded();
  if (loaded == nullptr) return LoadingStatus();
  return loaded;
}

void CallSession::Accept(const rpc::Call& call, ParsedRequest* parsed) {
  Request& request = parsed->request;
  request.id = record_.request_id;
  if (!dependencies_.config->share_image_cache) request.cache_scope = record_.tenant;
  request.deadline = DeadlineOf(call.context(), request.arrival, *dependencies_.config);
  deadline_ = request.deadline;
  for (const ImageInput& image : request.images) {
    record_.image_bytes +=
        static_cast<std::int64_t>(image.is_raw ? image.raw.data.size() : image.encoded.size());
  }
  record_.tags = parsed->response.tags;
  context_.request_id = record_.request_id;
  context_.task = request.task;
  context_.labels = request.labels;
  context_.separate_labels = request.separate_labels;
  context_.sampled = request.sampling.temperature > 0;
  context_.options = std::move(parsed->response);
}

void CallSession::NoteDelta(int num_tokens) {
  const TimePoint now = Clock::Real()->Now();
  if (dependencies_.metrics != nullptr && last_delta_ != TimePoint() && num_tokens > 0) {
    dependencies_.metrics->TokensDelivered(context_.task, now - last_delta_, num_tokens);
  }
  last_delta_ = now;
}

void CallSession::Note(const Answer& result) {
  spent_.usage = result.usage;
  spent_.timing = result.timing;
  for (const Candidate& candidate : result.candidates) {
    spent_.candidates.emplace_back().finish = candidate.finish;
    spent_.candidates.back().num_generated = candidate.num_generated;
  }
  record_.timing = result.timing;
  record_.usage = result.usage;
  if (dependencies_.config->log_content && !result.prompts.empty()) {
    record_.prompt = result.prompts.front();
  }
  if (dependencies_.config->log_content && !result.candidates.empty()) {
    record_.answer = result.candidates.front().text;
  }
}

void CallSession::NotePostprocess(Duration spent, v1::GenerationInfo* info) {
  for (RequestTiming* timing : {&record_.timing, &spent_.timing}) {
    timing->postprocess += spent;
    timing->total += spent;
  }
  if (info != nullptr) FillTiming(record_.timing, info->mutable_timing());
}

void CallSession::NoteMessage() {
  streamed_ = true;
  if (dependencies_.metrics == nullptr) return;
  dependencies_.metrics->RpcMessage(service_, record_.rpc, /*sent=*/true);
}

Status CallSession::CheckSize(size_t bytes) const {
  const auto limit = static_cast<size_t>(dependencies_.config->max_response_bytes);
  if (bytes <= limit) return OkStatus();
  const std::string advice = "ask for fewer objects, or for masks as RLE, codes or none";
  return Status(
      StatusCode::kResourceExhausted, Reason::kResponseTooLarge,
      "the response has " + std::to_string(bytes) + " bytes, limit " + std::to_string(limit) +
          "; " + advice,
      {{"value", std::to_string(bytes)}, {"limit", std::to_string(limit)}, {"advice", advice}});
}

// The transport reports a deadline as a cancel, but the client sees DEADLINE_EXCEEDED.
Status CallSession::CauseOf(const Status& status, TimePoint now) const {
  const bool late = deadline_ != TimePoint::max() &&
                    deadline_ <= now + kClockError + (deadline_ - started_) / kRoundedShare;
  if (status.code() != StatusCode::kCancelled || !late) return status;
  return Status(StatusCode::kDeadlineExceeded, Reason::kDeadlineExceeded,
                "the deadline passed before the answer was complete", status.metadata());
}

void CallSession::Count() {
  Metrics& metrics = *dependencies_.metrics;
  const Status& status = record_.status;
  const int code = static_cast<int>(
      status.ok() || status.reason() != Reason::kNone ? status.code() : StatusCode::kInternal);
  metrics.RpcHandled(service_, record_.rpc, code, record_.duration);
  if (status.ok() && !streamed_) metrics.RpcMessage(service_, record_.rpc, /*sent=*/true);
  if (accepted_) {
    metrics.RequestFinished(context_.task, status, spent_);
  } else if (!status.ok()) {
    metrics.RequestRejected(RejectionOf(status.reason()));
  }
}

CallSession::Outcome CallSession::Finish(const Status& status, size_t response_bytes) {
  Outcome outcome = Conclude(status, response_bytes);
  Record(status);
  return outcome;
}

CallSession::Outcome CallSession::Conclude(const Status& status, size_t response_bytes) {
  const Status cause = CauseOf(status, Clock::Real()->Now());
  record_.response_bytes = static_cast<std::int64_t>(response_bytes);
  Outcome outcome{ToGrpcStatus(cause, record_.request_id), {}};
  outcome.trailers.emplace_back("x-request-id", record_.request_id);
  if (const auto pushback = RetryPushback(cause)) {
    outcome.trailers.emplace_back(kPushbackKey, *pushback);
  }
  return outcome;
}

void CallSession::Record(const Status& status) {
  const TimePoint now = Clock::Real()->Now();
  record_.status = CauseOf(status, now);
  record_.duration = now - started_;
  dependencies_.log->Write(record_);
  if (dependencies_.metrics != nullptr) Count();
}

}  // namespace paligemma
