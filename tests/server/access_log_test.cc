// SPDX-License-Identifier: Apache-2.0
#include "server/access_log.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <set>

#include "server/status_mapping.h"

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
  record.status = DrainingError();
  keys.insert({"trace_id", "tenant", "attempt", "tags", "reason"});
  EXPECT_EQ(KeysOf(record, false), keys);
  keys.insert({"error", "prompt", "answer"});
  EXPECT_EQ(KeysOf(record, true), keys);
  const auto json = nlohmann::json::parse(AccessRecordToJson(TestRecord(), false));
  EXPECT_EQ(json["duration_ms"], 12.0);
  EXPECT_EQ(json["code"], "OK");
}

TEST(AccessLogTest, ASlowRequestAndAFaultAreWarnings) {
  ServerConfig config;
  config.slow_request_threshold = std::chrono::milliseconds(10);
  SetUpLogging(config);
  const AccessLog log(config);
  const auto line_of = [&log](const AccessRecord& record) {
    ::testing::internal::CaptureStderr();
    log.Write(record);
    return ::testing::internal::GetCapturedStderr();
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
  EXPECT_EQ(TraceIdOf("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(TraceIdOf("00-00000000000000000000000000000000-b7ad6b7169203331-01"), "");
  EXPECT_EQ(TraceIdOf("nonsense"), "");
}

}  // namespace
}  // namespace paligemma
