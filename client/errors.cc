// SPDX-License-Identifier: Apache-2.0
#include "client/errors.h"

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "paligemma/v1/error_reason.pb.h"

namespace paligemma::client {
namespace {

constexpr std::string_view kDomain = "paligemma.serving";
constexpr std::string_view kPrefix = "ERROR_REASON_";

struct Details {
  Reason reason = Reason::kNone;
  Status::Metadata metadata;
  std::chrono::milliseconds retry_after{0};
};

void AddDetail(const google::protobuf::Any& detail, Details* out) {
  google::rpc::ErrorInfo info;
  google::rpc::RetryInfo retry;
  google::rpc::RequestInfo request;
  if (detail.UnpackTo(&info) && info.domain() == kDomain) {
    v1::ErrorReason parsed;
    if (v1::ErrorReason_Parse(std::string(kPrefix) + info.reason(), &parsed)) {
      out->reason = static_cast<Reason>(parsed);
    }
    for (const auto& [key, value] : info.metadata()) out->metadata.emplace_back(key, value);
  } else if (detail.UnpackTo(&retry)) {
    out->retry_after = std::chrono::milliseconds(retry.retry_delay().seconds() * 1000 +
                                                 retry.retry_delay().nanos() / 1'000'000);
  } else if (detail.UnpackTo(&request)) {
    out->metadata.emplace_back("request_id", request.request_id());
  }
}

// gRPC itself refuses a message above a limit with "... message larger than max (V vs. L)". It
// knows no fields, so that reason, field, value and limit are added here. The server counts what it
// received, which is the request; any other number is that of a response, which this client
// refused.
void AddTransportLimit(StatusCode code, std::size_t request_bytes, std::string* message,
                       Details* details) {
  constexpr std::string_view kTooLarge = "message larger than max (", kVersus = " vs. ";
  if (details->reason != Reason::kNone || code != StatusCode::kResourceExhausted) return;
  const std::size_t at = message->find(kTooLarge);
  if (at == std::string::npos) return;
  const std::size_t begin = at + kTooLarge.size();
  const std::size_t versus = message->find(kVersus, begin), end = message->find(')', begin);
  if (versus == std::string::npos || end == std::string::npos || end < versus) return;
  const std::string value = message->substr(begin, versus - begin);
  const std::size_t limit_begin = versus + kVersus.size();
  const std::string limit = message->substr(limit_begin, end - limit_begin);
  if (value == std::to_string(request_bytes)) {
    details->reason = Reason::kImageTooLarge;
    details->metadata = {{"field", "images"}, {"value", value}, {"limit", limit}};
    *message = "images: the request has " + value + " bytes, limit " + limit +
               " of one message; send smaller pictures";
  } else {
    details->reason = Reason::kResponseTooLarge;
    details->metadata = {{"value", value}, {"limit", limit}};
    *message = "the response has " + value + " bytes, limit " + limit +
               " of this client; ask for fewer or smaller masks";
  }
}

}  // namespace

Status FromGrpcStatus(const grpc::Status& status, std::size_t request_bytes) {
  if (status.ok()) return OkStatus();
  Details details;
  google::rpc::Status rich;
  if (rich.ParseFromString(status.error_details())) {
    for (const auto& detail : rich.details()) AddDetail(detail, &details);
  }
  auto code = static_cast<StatusCode>(status.error_code());
  std::string message = status.error_message();
  if (code != StatusCode::kInternal &&
      StatusCodeName(code) == StatusCodeName(StatusCode::kInternal)) {
    message.insert(0, "gRPC code " + std::to_string(status.error_code()) + ": ");
    code = StatusCode::kInternal;
  }
  AddTransportLimit(code, request_bytes, &message, &details);
  return Status(code, details.reason, std::move(message), std::move(details.metadata))
      .WithRetryAfter(details.retry_after);
}

std::string ReasonOf(const Status& status) {
  if (status.reason() == Reason::kNone) return "";
  return v1::ErrorReason_Name(static_cast<int>(status.reason())).substr(kPrefix.size());
}

}  // namespace paligemma::client
