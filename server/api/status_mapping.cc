// SPDX-License-Identifier: Apache-2.0
#include "server/api/status_mapping.h"

#include <algorithm>
#include <chrono>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "paligemma/v1/error_reason.pb.h"

namespace paligemma {
namespace {

constexpr size_t kMaxMessageBytes = 1024;
constexpr size_t kMaxMetadataBytes = 256;

// Returns the text cut on a character boundary, without bytes that protobuf's strings refuse.
std::string SafeText(std::string_view text, size_t max_bytes) {
  std::string safe;
  safe.reserve(std::min(text.size(), max_bytes));
  for (size_t i = 0; i < text.size() && safe.size() < max_bytes;) {
    const auto c = static_cast<unsigned char>(text[i]);
    const size_t size = c < 0x80 ? 1 : c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC2 ? 2 : 0;
    bool valid = size > 0 && c < 0xF5 && i + size <= text.size();
    for (size_t k = 1; valid && k < size; ++k) {
      valid = (static_cast<unsigned char>(text[i + k]) & 0xC0) == 0x80;
    }
    // Overlong forms, surrogates and what lies beyond U+10FFFF.
    if (valid && size > 2) {
      const auto next = static_cast<unsigned char>(text[i + 1]);
      valid = !(c == 0xE0 && next < 0xA0) && !(c == 0xED && next >= 0xA0) &&
              !(c == 0xF0 && next < 0x90) && !(c == 0xF4 && next >= 0x90);
    }
    if (!valid) {
      safe += '?';
      ++i;
      continue;
    }
    if (safe.size() + size > max_bytes) break;
    safe.append(text.substr(i, size));
    i += size;
  }
  return safe;
}

std::string_view MetadataValue(const Status& status, std::string_view key) {
  for (const auto& [name, value] : status.metadata()) {
    if (name == key) return value;
  }
  return {};
}

void AddErrorInfo(const Status& status, Reason reason, google::rpc::Status* out) {
  google::rpc::ErrorInfo info;
  info.set_reason(ReasonName(reason));
  info.set_domain(kErrorDomain);
  for (const auto& [key, value] : status.metadata()) {
    (*info.mutable_metadata())[key] = SafeText(value, kMaxMetadataBytes);
  }
  if (status.code() == StatusCode::kUnavailable && status.retry_after().count() > 0) {
    (*info.mutable_metadata())["retry_after_ms"] = std::to_string(status.retry_after().count());
  }
  out->add_details()->PackFrom(info);
}

void AddTypedDetail(const Status& status, const std::string& message, google::rpc::Status* out) {
  const std::string_view field = MetadataValue(status, "field");
  if (!field.empty()) {
    google::rpc::BadRequest bad;
    auto* violation = bad.add_field_violations();
    violation->set_field(SafeText(field, kMaxMetadataBytes));
    violation->set_description(message);
    out->add_details()->PackFrom(bad);
  }
  if (status.reason() == Reason::kModelNotFound) {
    google::rpc::ResourceInfo resource;
    resource.set_resource_type("paligemma.v1.Model");
    resource.set_resource_name(SafeText(MetadataValue(status, "model"), kMaxMetadataBytes));
    resource.set_description(message);
    out->add_details()->PackFrom(resource);
  }
  const bool retryable = status.code() == StatusCode::kUnavailable;
  if (retryable || status.retry_after().count() > 0) {
    google::rpc::RetryInfo retry;
    const auto delay = status.retry_after().count();
    retry.mutable_retry_delay()->set_seconds(delay / 1000);
    retry.mutable_retry_delay()->set_nanos(static_cast<int>(delay % 1000) * 1'000'000);
    out->add_details()->PackFrom(retry);
  }
}

}  // namespace

std::string ReasonName(Reason reason) {
  const int number = static_cast<int>(reason == Reason::kNone ? Reason::kInternal : reason);
  const std::string& name = v1::ErrorReason_Name(static_cast<v1::ErrorReason>(number));
  constexpr std::string_view kPrefix = "ERROR_REASON_";
  return name.size() > kPrefix.size() ? name.substr(kPrefix.size()) : "INTERNAL";
}

grpc::Status ToGrpcStatus(const Status& status, const std::string& request_id) {
  if (status.ok()) return grpc::Status::OK;
  const bool ours = status.reason() != Reason::kNone;
  const StatusCode code = ours ? status.code() : StatusCode::kInternal;
  const std::string message = SafeText(status.message(), kMaxMessageBytes);
  google::rpc::Status rich;
  rich.set_code(static_cast<int>(code));
  rich.set_message(message);
  AddErrorInfo(status, status.reason(), &rich);
  AddTypedDetail(status, message, &rich);
  if (!request_id.empty()) {
    google::rpc::RequestInfo info;
    info.set_request_id(request_id);
    rich.add_details()->PackFrom(info);
  }
  return grpc::Status(static_cast<grpc::StatusCode>(code), message, rich.SerializeAsString());
}

std::optional<std::string> RetryPushback(const Status& status) {
  if (status.ok()) return std::nullopt;
  if (status.reason() == Reason::kQuotaExceeded) return "-1";
  if (status.code() != StatusCode::kUnavailable) return std::nullopt;
  return std::to_string(status.retry_after().count());
}

std::string CamelCodeName(StatusCode code) {
  std::string camel;
  bool start = true;
  for (const char c : StatusCodeName(code)) {
    if (c == '_') {
      start = true;
      continue;
    }
    camel += start ? c : static_cast<char>(c - 'A' + 'a');
    start = false;
  }
  return code == StatusCode::kOk ? "OK" : code == StatusCode::kCancelled ? "Canceled" : camel;
}

}  // namespace paligemma
