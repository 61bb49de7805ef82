// SPDX-License-Identifier: Apache-2.0
#include "server/access_log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

#include "server/status_mapping.h"

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
    // Messages may quote what the client sent.
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

void Log(spdlog::level::level_enum level, std::string_view message) {
  spdlog::log(level, "{}", message);
}

// The logger of requests, whose lines JsonFormatter knows by its name.
constexpr char kRequests[] = "requests";

bool IsControl(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }

// Replaces ASCII's controls and those that UTF-8 writes in two bytes, U+0080 to U+009F.
void BlankControls(spdlog::memory_buf_t* text) {
  std::replace_if(text->begin(), text->end(), IsControl, ' ');
  for (std::size_t i = 1; i < text->size(); ++i) {
    const auto second = static_cast<unsigned char>((*text)[i]);
    if ((*text)[i - 1] == '\xC2' && second >= 0x80 && second < 0xA0) {
      (*text)[i - 1] = (*text)[i] = ' ';
    }
  }
}

// Lines for people. What a library or a client put into them can neither begin a line of its own
// nor speak to the terminal.
class TextFormatter : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    pattern_.format(message, out);
    BlankControls(&out);
    out.push_back('\n');
  }
  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<TextFormatter>();
  }

 private:
  spdlog::pattern_formatter pattern_{"%Y-%m-%dT%H:%M:%S.%e %l %v", spdlog::pattern_time_type::local,
                                     ""};
};

// {"ts", "level", "msg": ...}: an event is a JSON string, a request the members of an object.
class JsonFormatter : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    spdlog::memory_buf_t head;
    pattern_.format(message, head);
    std::string line(head.data(), head.size());
    const std::string_view text(message.payload.data(), message.payload.size());
    if (message.logger_name == kRequests) {
      line.append(",").append(text.substr(1)).append("\n");
    } else {
      line.append(",\"msg\":").append(Dump(Json(std::string(text)))).append("}\n");
    }
    out.append(line.data(), line.data() + line.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<JsonFormatter>();
  }

 private:
  spdlog::pattern_formatter pattern_{R"({"ts":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l")",
                                     spdlog::pattern_time_type::utc, ""};
};

// Whether a value needs no quotes in key=value.
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
      logger_(spdlog::default_logger()->clone(kRequests)) {}

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

void SetUpLogging(const ServerConfig& config) {
  auto logger = std::make_shared<spdlog::logger>("paligemma",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
  if (config.log_format == "json") {
    logger->set_formatter(std::make_unique<JsonFormatter>());
  } else {
    logger->set_formatter(std::make_unique<TextFormatter>());
  }
  logger->set_level(spdlog::level::from_str(config.log_level));
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

void LogInfo(std::string_view message) { Log(spdlog::level::info, message); }
void LogWarning(std::string_view message) { Log(spdlog::level::warn, message); }
void LogError(std::string_view message) { Log(spdlog::level::err, message); }
void FlushLog() { spdlog::default_logger()->flush(); }

std::string TraceIdOf(std::string_view traceparent) {
  // version "-" trace id "-" parent id "-" flags; what a later version adds begins with "-".
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
