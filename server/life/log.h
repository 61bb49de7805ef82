// SPDX-License-Identifier: Apache-2.0
// The process's log: lines on standard error, as text or as JSON. Logging never waits for the
// reader of standard error; see LineWriter. Thread safe.
#ifndef SERVER_LIFE_LOG_H_
#define SERVER_LIFE_LOG_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/heartbeat.h"

namespace spdlog {
class logger;
}  // namespace spdlog

namespace paligemma {

// Sets up the log on standard error, before anything is logged. `format` is "text" or "json",
// `level` debug, info, warn or error. `heartbeats` may be null; it must outlive the process's log.
void SetUpLogging(const std::string& format, const std::string& level,
                  Heartbeats* heartbeats = nullptr);

// Log one line of text as an event; in JSON format {"ts", "level", "msg"}.
void LogInfo(std::string_view message);
void LogWarning(std::string_view message);
void LogError(std::string_view message);

// Waits until all lines have been written, or until nobody seems to read them. Call it before the
// process ends.
void FlushLog();

// Returns how many lines were lost because nobody read them in time.
std::int64_t NumDroppedLogLines();

// Makes the logger of requests. In JSON format its messages are objects, whose members become
// members of the line.
std::shared_ptr<spdlog::logger> MakeRequestLogger();

}  // namespace paligemma

#endif  // SERVER_LIFE_LOG_H_
