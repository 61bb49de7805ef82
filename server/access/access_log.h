// SPDX-License-Identifier: Apache-2.0
// One line per request, at its end. Thread safe.
//
// A line holds sizes, counts, times and the outcome; a prompt or an answer only with log_content.
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

// The JSON object of one record; keys in a fixed order, `content` only when asked for.
std::string AccessRecordToJson(const AccessRecord& record, bool with_content);
// The same as key=value pairs.
std::string AccessRecordToText(const AccessRecord& record, bool with_content);

// Built after SetUpLogging().
class AccessLog {
 public:
  explicit AccessLog(const ServerConfig& config);
  void Write(const AccessRecord& record) const;

 private:
  const bool json_, with_content_;
  const Millis slow_;
  const std::shared_ptr<spdlog::logger> logger_;
};

// 32 hex digits out of a W3C traceparent, or nothing when it is malformed.
std::string TraceIdOf(std::string_view traceparent);

// `given` if it is 1 to 128 of [A-Za-z0-9._-], else a new random one.
std::string RequestIdOr(const std::string& given);

}  // namespace paligemma

#endif  // SERVER_ACCESS_ACCESS_LOG_H_
