// SPDX-License-Identifier: Apache-2.0
#include "server/life/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/base/line_writer.h"

namespace paligemma {
namespace {

std::string Quoted(std::string_view text) {
  using Json = nlohmann::json;
  return Json(std::string(text)).dump(-1, ' ', false, Json::error_handler_t::replace);
}

void Log(spdlog::level::level_enum level, std::string_view message) {
  spdlog::log(level, "{}", message);
}

// Names the logger of requests. JsonFormatter recognizes the lines of requests by this name.
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

// Formats lines for people. Text from a library or a client can neither begin a new line nor send
// control codes to the terminal.
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
      line.append(",\"msg\":").append(Quoted(text)).append("}\n");
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

// Formats lines and hands them to a LineWriter.
class LineSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit LineSink(const LineWriter::Options& options) : writer_(options) {}
  LineWriter& writer() { return writer_; }  // thread safe, and not guarded by the sink's mutex

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    writer_.Write(std::string_view(line.data(), line.size()));
  }
  void flush_() override {}  // FlushLog() waits without the sink's mutex

 private:
  LineWriter writer_;
};

// Returns the writer of the process's log, or null before SetUpLogging().
LineWriter* Writer() {
  for (const spdlog::sink_ptr& sink : spdlog::default_logger()->sinks()) {
    if (auto* const lines = dynamic_cast<LineSink*>(sink.get())) return &lines->writer();
  }
  return nullptr;
}

}  // namespace

void SetUpLogging(const std::string& format, const std::string& level, Heartbeats* heartbeats) {
  LineWriter::Options options;
  options.heartbeats = heartbeats;
  auto logger = std::make_shared<spdlog::logger>("paligemma", std::make_shared<LineSink>(options));
  if (format == "json") {
    logger->set_formatter(std::make_unique<JsonFormatter>());
  } else {
    logger->set_formatter(std::make_unique<TextFormatter>());
  }
  logger->set_level(spdlog::level::from_str(level));
  spdlog::set_default_logger(std::move(logger));
}

void LogInfo(std::string_view message) { Log(spdlog::level::info, message); }
void LogWarning(std::string_view message) { Log(spdlog::level::warn, message); }
void LogError(std::string_view message) { Log(spdlog::level::err, message); }

void FlushLog() {
  if (LineWriter* const writer = Writer()) writer->Flush();
}

std::int64_t NumDroppedLogLines() {
  const LineWriter* const writer = Writer();
  return writer == nullptr ? 0 : writer->num_dropped();
}

std::shared_ptr<spdlog::logger> MakeRequestLogger() {
  return spdlog::default_logger()->clone(kRequests);
}

}  // namespace paligemma
