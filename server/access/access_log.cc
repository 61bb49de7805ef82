// SPDX-License-Identifier: Apache-2.0
#include "server/access/access_log.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

#include "server/api/status_mapping.h"
#include "server/life/log.h"

namespace paligemma {
namespace {

using Json = nlohmann::ordered_json;

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

double ToMillis(Duration duration) {
  const double millis = std::chrono::duration<double, std::milli>(duration).count();
  return std::round(millis * 1000) / 1000;
}

Json ToJson(const AccessRecord& record, bool with_content) {
  Json json;
  json["request_id"] = record.request_id;
  if (!record.trace_id.empty()) json["trace_id"] = record.trace_id;
  json["method"] = record.rpc;
  json["model"] = record.model;
  json["code"] = StatusCodeName(record.status.code());
  if (!record.status.ok()) {
    json["reason"] = ReasonName(record.status.reason());
    // Omits messages of refusals, since they may quote what the client sent.
    if (with_content || record.status.code() == StatusCode::kInternal) {
      json["error"] = record.status.message();
    }
  }
  json["duration_ms"] = ToMillis(record.duration);
  const RequestTiming& timing = record.timing;
  json["queue_ms"] = ToMillis(timing.queue);
  json["preprocess_ms"] = ToMillis(timing.preprocess);
  json["vision_ms"] = ToMillis(timing.vision);
  json["prefill_ms"] = ToMillis(timing.prefill);
  json["decode_ms"] = ToMillis(timing.decode);
  json["postprocess_ms"] = ToMillis(timing.postprocess);
  json["ttft_ms"] = ToMillis(timing.first_token);
  json["images"] = record.usage.num_images;
  json["image_bytes"] = record.image_bytes;
  json["prompt_tokens"] = record.usage.prompt_tokens;
  json["output_tokens"] = record.usage.output_tokens;
  json["response_bytes"] = record.response_bytes;
  json["peer"] = record.peer;
  if (!record.tenant.empty()) json["tenant"] = record.tenant;
  if (record.attempt > 0) json["attempt"] = record.attempt;
  if (!record.tags.empty()) json["tags"] = record.tags;
  if (with_content) {
    json["prompt"] = record.prompt;
    json["answer"] = record.answer;
  }
  return json;
}

bool IsControl(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }

// Returns true if the value needs no quotes in key=value.
bool IsBare(std::string_view text) {
  return !text.empty() && std::none_of(text.begin(), text.end(), [](char c) {
    return IsControl(c) || c == ' ' || c == '"' || c == '=' || c == '\\';
  });
}

bool IsHex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool IsZero(std::string_view text) { return text.find_first_not_of('0') == std::string_view::npos; }

bool IsIdCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

}  // namespace

std::string AccessRecordToJson(const AccessRecord& record, bool with_content) {
  return Dump(ToJson(record, with_content));
}

std::string AccessRecordToText(const AccessRecord& record, bool with_content) {
  std::string text = "request";
  const Json json = ToJson(record, with_content);
  for (const auto& [key, value] : json.items()) {
    text.append(" ").append(key).append("=");
    const bool bare = value.is_string() && IsBare(value.get_ref<const std::string&>());
    text += bare ? value.get<std::string>() : Dump(value);
  }
  return text;
}

AccessLog::AccessLog(const ServerConfig& config)
    : json_(config.log_format == "json"),
      with_content_(config.log_content),
      slow_(config.slow_request_threshold),
      logger_(MakeRequestLogger()) {}

void AccessLog::Write(const AccessRecord& record) const {
  const bool slow = slow_.count() > 0 && record.duration > slow_;
  const auto level = slow || record.status.code() == StatusCode::kInternal ? spdlog::level::warn
                                                                           : spdlog::level::info;
  if (json_) {
    Json json = ToJson(record, with_content_);
    Json line;
    line["msg"] = slow ? "slow request" : "request";
    line.update(json);
    logger_->log(level, Dump(line));
  } else {
    logger_->log(level, (slow ? "slow " : "") + AccessRecordToText(record, with_content_));
  }
}

std::string TraceIdOf(std::string_view traceparent) {
  // The format is version "-" trace id "-" parent id "-" flags. Later versions append "-" and more.
  constexpr size_t kSize = 55;
  if (traceparent.size() < kSize) return "";
  const std::string_view version = traceparent.substr(0, 2), id = traceparent.substr(3, 32),
                         parent = traceparent.substr(36, 16), flags = traceparent.substr(53, 2);
  if (traceparent[2] != '-' || traceparent[35] != '-' || traceparent[52] != '-') return "";
  if (!IsHex(version) || !IsHex(id) || !IsHex(parent) || !IsHex(flags)) return "";
  if (version == "ff" || IsZero(id) || IsZero(parent)) return "";
  if (traceparent.size() > kSize && (version == "00" || traceparent[kSize] != '-')) return "";
  return std::string(id);
}

std::string RequestIdOr(const std::string& given) {
  bool valid = !given.empty() && given.size() <= 128;
  for (const char c : given) valid = valid && IsIdCharacter(c);
  if (valid) return given;
  thread_local std::mt19937_64 generator{std::random_device{}()};
  std::string id;
  for (int i = 0; i < 2; ++i) {
    std::uint64_t bits = generator();
    for (int k = 0; k < 16; ++k, bits >>= 4) id += "0123456789abcdef"[bits & 15];
  }
  return id;
}

}  // namespace paligemma
