// SPDX-License-Identifier: Apache-2.0
// Writes one line for each request when it ends. Thread safe.
//
// A line holds sizes, counts, times and the outcome. It holds the prompt and the answer only with
// log_content.
#ifndef SERVER_ACCESS_ACCESS_LOG_H_
#define SERVER_ACCESS_ACCESS_LOG_H_

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/status.h"
#include "core/request/request.h"
#include "server/config/server_config.h"

namespace spdlog {
class logger;
}  // namespace spdlog

namespace paligemma {

struct AccessRecord {
  std::string request_id, trace_id, rpc, model, tenant, peer;
  Status status;
  Duration duration{};
  RequestTiming timing;
  RequestUsage usage;
  std::int64_t image_bytes = 0, response_bytes = 0;
  int attempt = 0;  // grpc-previous-rpc-attempts
  std::map<std::string, std::string> tags;
  std::string prompt, answer;
};

// Returns the record as a JSON object, with its keys in a fixed order.
std::string AccessRecordToJson(const AccessRecord& record, bool with_content);
// Returns the record as key=value pairs.
std::string AccessRecordToText(const AccessRecord& record, bool with_content);

// REQUIRES: SetUpLogging() before the construction.
class AccessLog {
 public:
  explicit AccessLog(const ServerConfig& config);
  void Write(const AccessRecord& record) const;

 private:
  const bool json_, with_content_;
  const Millis slow_;
  const std::shared_ptr<spdlog::logger> logger_;
};

// Returns the trace id of a W3C traceparent, 32 hex digits; empty if it is malformed.
std::string TraceIdOf(std::string_view traceparent);

// Returns `given` if it is 1 to 128 of [A-Za-z0-9._-], else a new random id.
std::string RequestIdOr(const std::string& given);

}  // namespace paligemma

#endif  // SERVER_ACCESS_ACCESS_LOG_H_
