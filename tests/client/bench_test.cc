// SPDX-License-Identifier: Apache-2.0
#include "client/bench.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/client/fake_server.h"

namespace paligemma::client {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

TEST(ParseMixTest, ReadsNamesStreamsAndShares) {
  const auto mix = ParseMix("caption=0.25,answer:stream=3,read");
  ASSERT_TRUE(mix.ok()) << mix.status().ToString();
  ASSERT_EQ(mix->size(), 3u);
  EXPECT_EQ((*mix)[0].command, "caption");
  EXPECT_EQ((*mix)[0].weight, 0.25);
  EXPECT_FALSE((*mix)[0].stream);
  EXPECT_EQ((*mix)[1].command, "answer");
  EXPECT_TRUE((*mix)[1].stream);
  EXPECT_EQ((*mix)[2].weight, 1);
}

TEST(ParseMixTest, RefusesWhatItDoesNotKnowAndNamesIt) {
  for (const char* wrong : {"", "speak", "caption=", "caption=x", "caption=1x", "caption=0",
                            "caption=-1", "caption=nan", "caption=1,,read", ":stream"}) {
    EXPECT_FALSE(ParseMix(wrong).ok()) << wrong;
  }
  EXPECT_THAT(ParseMix("caption,speak=2").status().message(), HasSubstr("speak=2"));
}

class BenchTest : public ::testing::Test {
 protected:
  BenchTest() {
    arguments_.client.server = server_.address();
    arguments_.positional = {"-"};
    arguments_.concurrency = 2;
    arguments_.json = true;
    options_.duration = std::chrono::milliseconds(200);
    options_.warmup = std::chrono::milliseconds(0);
    server_.on_task = [](grpc::ServerContext*, const v1::TaskRequest&, v1::TaskResponse* answer) {
      answer->mutable_caption()->mutable_info()->mutable_usage()->set_output_token_count(7);
      return grpc::Status::OK;
    };
  }

  int Run() {
    std::istringstream in("picture");
    out_.str("");
    return RunBench(arguments_, options_, {&in, &out_, &err_, false});
  }
  json Report() const { return json::parse(out_.str()); }
  json Row(const std::string& name) const {
    const json report = Report();
    for (const json& row : report["rows"]) {
      if (row["name"] == name) return row;
    }
    ADD_FAILURE() << "no row " << name;
    return {};
  }

  FakeServer server_;
  Arguments arguments_;
  BenchOptions options_;
  std::ostringstream out_, err_;
};

TEST_F(BenchTest, CountsRequestsAndTokens) {
  options_.runs = 2;
  EXPECT_EQ(Run(), kAnswered);
  EXPECT_GT(Row("requests_answered")["ours"]["min"], 0);
  EXPECT_EQ(Row("requests_failed")["ours"]["max"], 0);
  EXPECT_GT(Row("tokens")["ours"]["min"], Row("throughput")["ours"]["min"]);
}

TEST_F(BenchTest, ErrorsAreCountedAndNotRetried) {
  server_.on_task = [](grpc::ServerContext* context, const v1::TaskRequest&, v1::TaskResponse*) {
    context->AddTrailingMetadata("grpc-retry-pushback-ms", "0");
    return RichError(grpc::StatusCode::UNAVAILABLE, "SERVER_OVERLOADED");
  };
  EXPECT_EQ(Run(), kRequestFailed);
  const json error = Report()["errors"][0];
  EXPECT_EQ(error["code"], "UNAVAILABLE");
  EXPECT_EQ(error["reason"], "SERVER_OVERLOADED");
  EXPECT_EQ(error["count"], server_.num_calls());
}

TEST_F(BenchTest, AnOpenLoopSendsAtItsRate) {
  options_.rate = 200;
  EXPECT_EQ(Run(), kAnswered);
  // 40 expected; as many as the seed says, however fast the server is.
  const json first = Row("requests_due")["ours"]["median"];
  EXPECT_EQ(Run(), kAnswered);
  EXPECT_EQ(Row("requests_due")["ours"]["median"], first);
}

TEST_F(BenchTest, StreamsShowTheFirstToken) {
  server_.events = {Delta("a "), CaptionResult("a cat")};
  options_.mix = "caption:stream";
  EXPECT_EQ(Run(), kAnswered);
  EXPECT_TRUE(Row("time_to_first_token_p50")["ours"].is_object());
  options_.mix = "caption";
  EXPECT_EQ(Run(), kAnswered);
  EXPECT_TRUE(Row("time_to_first_token_p50")["ours"].is_null());
}

TEST_F(BenchTest, CanBypassTheServersCache) {
  std::atomic<int> bypassed{0};
  server_.on_task = [&](grpc::ServerContext*, const v1::TaskRequest& task, v1::TaskResponse*) {
    bypassed += task.caption().options().cache_policy() == v1::CACHE_POLICY_BYPASS;
    return grpc::Status::OK;
  };
  EXPECT_EQ(Run(), kAnswered);
  EXPECT_EQ(bypassed, 0);
  arguments_.bypass_cache = true;
  EXPECT_EQ(Run(), kAnswered);
  EXPECT_GT(bypassed, 0);
}

TEST_F(BenchTest, AWrongMixIsAUsageError) {
  options_.mix = "speak";
  EXPECT_EQ(Run(), kWrongUsage);
}

}  // namespace
}  // namespace paligemma::client
