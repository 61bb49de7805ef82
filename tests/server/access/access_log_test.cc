// SPDX-License-Identifier: Apache-2.0
#include "server/access/access_log.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <vector>

#include "core/request/endings.h"
#include "server/api/status_mapping.h"
#include "server/life/log.h"

namespace paligemma {
namespace {

AccessRecord TestRecord() {
  AccessRecord record;
  record.request_id = "id-1";
  record.rpc = "Answer";
  record.model = "models/test";
  record.prompt = "a secret question";
  record.answer = "a secret answer";
  record.duration = std::chrono::milliseconds(12);
  record.usage.output_tokens = 3;
  return record;
}

std::set<std::string> KeysOf(const AccessRecord& record, bool with_content) {
  std::set<std::string> keys;
  const auto json = nlohmann::json::parse(AccessRecordToJson(record, with_content));
  for (const auto& [key, value] : json.items()) keys.insert(key);
  return keys;
}

TEST(AccessLogTest, TheSchemaIsFixed) {
  std::set<std::string> keys = {"request_id",     "method",      "model",          "code",
                                "duration_ms",    "queue_ms",    "preprocess_ms",  "vision_ms",
                                "prefill_ms",     "decode_ms",   "postprocess_ms", "ttft_ms",
                                "images",         "image_bytes", "prompt_tokens",  "output_tokens",
                                "response_bytes", "peer"};
  AccessRecord record = TestRecord();
  EXPECT_EQ(KeysOf(record, false), keys);
  record.trace_id = std::string(32, 'a');
  record.tenant = "team";
  record.attempt = 1;
  record.tags = {{"cost", "1"}};
  record.status = DrainingStatus();
  keys.insert({"trace_id", "tenant", "attempt", "tags", "reason"});
  EXPECT_EQ(KeysOf(record, false), keys);
  keys.insert({"error", "prompt", "answer"});
  EXPECT_EQ(KeysOf(record, true), keys);
  const auto json = nlohmann::json::parse(AccessRecordToJson(TestRecord(), false));
  EXPECT_EQ(json["duration_ms"], 12.0);
  EXPECT_EQ(json["code"], "OK");
}

// What `log` writes to standard error, with the process's logger set up in one of the formats.
std::string Logged(const ServerConfig& config, const std::function<void(const AccessLog&)>& log) {
  SetUpLogging(config.log_format, config.log_level);
  const AccessLog access_log(config);
  ::testing::internal::CaptureStderr();
  log(access_log);
  FlushLog();
  return ::testing::internal::GetCapturedStderr();
}

// Everything that a client, a library or an operator may put into a line, at its worst.
constexpr char kHostile[] =
    "{\"level\":\"forged\"}\n\r\x1B[2J\x7F \"quoted\" \\ \xFF a=b \xC2\x9B"
    "2J \xC3\x9B";

TEST(AccessLogTest, EveryLineOfTheJsonFormatIsOneObjectWhateverItHolds) {
  ServerConfig config;
  config.log_format = "json";
  config.log_content = true;
  config.slow_request_threshold = std::chrono::milliseconds(10);
  const std::string text = Logged(config, [](const AccessLog& log) {
    LogWarning(kHostile);
    LogError("{not JSON/manifest.json: cannot be read");
    AccessRecord record = TestRecord();
    record.rpc = record.peer = record.prompt = record.answer = record.tenant = kHostile;
    record.tags = {{kHostile, kHostile}};
    record.status = InternalError(kHostile);
    log.Write(record);
  });
  std::vector<nlohmann::json> lines;
  std::stringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(nlohmann::json::parse(line));
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0]["level"], "warning");
  EXPECT_THAT(lines[0]["msg"].get<std::string>(),
              ::testing::StartsWith("{\"level\":\"forged\"}\n"));
  EXPECT_EQ(lines[1]["msg"], "{not JSON/manifest.json: cannot be read");
  EXPECT_EQ(lines[2]["msg"], "slow request");
  EXPECT_EQ(lines[2]["request_id"], "id-1");
  for (const auto& line : lines) {
    EXPECT_THAT(line["ts"].get<std::string>(),
                ::testing::MatchesRegex("....-..-..T..:..:..[.]...Z"));
  }
}

TEST(AccessLogTest, ALineOfTextCannotBeForgedAndHoldsNothingForTheTerminal) {
  ServerConfig config;
  config.log_content = true;
  const std::string text = Logged(config, [](const AccessLog& log) {
    LogWarning(kHostile);
    AccessRecord record = TestRecord();
    record.prompt = "\x1B[2J";
    record.answer = record.rpc = kHostile;
    log.Write(record);
  });
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
  for (const char c : text) {
    EXPECT_TRUE(c == '\n' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7F)) << int{c};
  }
  EXPECT_THAT(text, ::testing::Not(::testing::HasSubstr("\xC2\x9B")));  // a terminal's CSI
  EXPECT_THAT(text, ::testing::HasSubstr("\xC3\x9B"));                  // a letter
  EXPECT_THAT(text, ::testing::HasSubstr("prompt=\"\\u001b[2J\" answer="));
}

TEST(AccessLogTest, ASlowRequestAndAFaultAreWarnings) {
  ServerConfig config;
  config.slow_request_threshold = std::chrono::milliseconds(10);
  const auto line_of = [&config](const AccessRecord& record) {
    return Logged(config, [&record](const AccessLog& log) { log.Write(record); });
  };
  AccessRecord record = TestRecord();
  EXPECT_THAT(line_of(record), ::testing::HasSubstr("warning slow request request_id=id-1 "));
  record.duration = std::chrono::milliseconds(9);
  EXPECT_THAT(line_of(record), ::testing::HasSubstr("info request request_id=id-1 "));
  record.status = InternalError("a fault");
  EXPECT_THAT(line_of(record), ::testing::HasSubstr("warning request request_id=id-1 "));
}

TEST(AccessLogTest, ContentOnlyWhenAskedFor) {
  EXPECT_THAT(AccessRecordToJson(TestRecord(), false),
              ::testing::Not(::testing::HasSubstr("secret")));
  EXPECT_THAT(AccessRecordToText(TestRecord(), false),
              ::testing::Not(::testing::HasSubstr("secret")));
  EXPECT_THAT(AccessRecordToText(TestRecord(), true), ::testing::HasSubstr("secret answer"));
}

TEST(AccessLogTest, AnErrorQuotesNoContent) {
  AccessRecord record = TestRecord();
  record.status = InvalidField("labels[0]", "a secret label", "", "is there twice");
  const std::string line = AccessRecordToJson(record, false);
  EXPECT_THAT(line, ::testing::Not(::testing::HasSubstr("secret")));
  EXPECT_THAT(line, ::testing::HasSubstr("FIELD_INVALID"));
}

TEST(AccessLogTest, OneLineWhateverItHolds) {
  AccessRecord record = TestRecord();
  record.answer = "two\nlines \"quoted\" \xFF";
  EXPECT_EQ(AccessRecordToText(record, true).find('\n'), std::string::npos);
  EXPECT_EQ(AccessRecordToJson(record, true).find('\n'), std::string::npos);
}

TEST(AccessLogTest, IdsAreTakenOrMade) {
  EXPECT_EQ(RequestIdOr("Good-id_1.2"), "Good-id_1.2");
  EXPECT_EQ(RequestIdOr("bad id").size(), 32u);
  EXPECT_EQ(RequestIdOr(std::string(129, 'a')).size(), 32u);
  EXPECT_NE(RequestIdOr(""), RequestIdOr(""));
}

TEST(AccessLogTest, ATraceIsTakenOutOfAWellFormedTraceparentAlone) {
  const std::string trace = "0af7651916cd43dd8448eb211c80319c", parent = "b7ad6b7169203331";
  const std::string good = "00-" + trace + "-" + parent + "-01";
  EXPECT_EQ(TraceIdOf(good), trace);
  EXPECT_EQ(TraceIdOf("cc-" + trace + "-" + parent + "-01-what.comes.later"), trace);
  for (const std::string& bad :
       {std::string(), std::string("nonsense"), good + "-00", good + "x", good.substr(0, 54),
        "ff-" + trace + "-" + parent + "-01", "0g-" + trace + "-" + parent + "-01",
        "00-" + std::string(32, '0') + "-" + parent + "-01",
        "00-" + trace + "-" + std::string(16, '0') + "-01",
        "00-0AF7651916CD43DD8448EB211C80319C-" + parent + "-01",
        "00-" + trace + "-b7ad6b716920333Z-01", "00-" + trace + "-" + parent + "-zz",
        "00-" + trace + "-" + parent + "_01", "cc-" + trace + "-" + parent + "-01.later",
        "00_" + trace + "-" + parent + "-01",
        "00-" + std::string(32, '"') + "-" + parent + "-01"}) {
    EXPECT_EQ(TraceIdOf(bad), "") << bad;
  }
}

}  // namespace
}  // namespace paligemma
