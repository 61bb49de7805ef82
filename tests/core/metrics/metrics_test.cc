// SPDX-License-Identifier: Apache-2.0
#include "core/metrics/metrics.h"

#include <string>
#include <thread>
#include <vector>

#include "core/request/endings.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace paligemma {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

MetricsInfo Info() {
  MetricsInfo info;
  info.version = "1.2.3";
  info.model = "tiny";
  info.rpcs = {{"paligemma.v1.PaliGemmaService", "Caption", "unary"}};
  return info;
}

TEST(MetricsTest, GaugesAreThoseOfTheScrape) {
  Metrics metrics(Info());
  const std::string text = metrics.ExportText({.requests_waiting = 3,
                                               .requests_running = 2,
                                               .kv_blocks_used = 1,
                                               .kv_blocks_total = 4,
                                               .kv_block_size = 16});
  EXPECT_THAT(text, HasSubstr("\npaligemma_requests_waiting 3"));
  EXPECT_THAT(text, HasSubstr("\npaligemma_requests_running 2"));
  EXPECT_THAT(text, HasSubstr("\npaligemma_kv_cache_usage_ratio 0.25"));
}

TEST(MetricsTest, SeriesOfEveryRpcAndCodeExistFromTheStart) {
  Metrics metrics(Info());
  EXPECT_THAT(metrics.ExportText({}), HasSubstr("grpc_code=\"DeadlineExceeded\""));
}

TEST(MetricsTest, AnUnknownRpcCountsAsOther) {
  Metrics metrics(Info());
  metrics.RpcStarted("evil.Service", "Random12345");
  const std::string text = metrics.ExportText({});
  EXPECT_THAT(text, Not(HasSubstr("Random12345")));
  EXPECT_THAT(text, HasSubstr("grpc_method=\"other\""));
}

TEST(MetricsTest, AFinishedRequestCountsOnceUnderItsReason) {
  Metrics metrics(Info());
  Answer result;
  result.usage.output_tokens = 5;
  result.candidates.emplace_back().finish = FinishReason::kStop;
  metrics.RequestFinished(Task::kCaption, OkStatus(), result);
  const std::string text = metrics.ExportText({});
  EXPECT_THAT(text, HasSubstr("\npaligemma_output_tokens_total 5"));
  EXPECT_THAT(text, HasSubstr("reason=\"stop\"} 1"));
}

TEST(MetricsTest, TokensOfAnAnswerThatCameTooLateAreCountedAsWaste) {
  Metrics metrics(Info());
  Answer result;
  result.usage.output_tokens = 5;
  metrics.RequestFinished(Task::kCaption, DeadlineStatus("decode"), result);
  metrics.RequestFinished(Task::kCaption, CancelledStatus("decode"), result);
  const std::string text = metrics.ExportText({});
  EXPECT_THAT(text, HasSubstr("\npaligemma_deadline_exceeded_tokens_total 5\n"));
  EXPECT_THAT(text, HasSubstr("reason=\"deadline\"} 1"));
  EXPECT_THAT(text, HasSubstr("reason=\"cancelled\"} 1"));
}

TEST(MetricsTest, NothingIsLostWhileManyThreadsCountAndOneScrapes) {
  constexpr int kThreads = 4, kEach = 200;
  Metrics metrics(Info());
  Answer result;
  result.usage.output_tokens = 1;
  result.candidates.emplace_back().finish = FinishReason::kStop;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < kEach; ++k) {
        metrics.RpcStarted("paligemma.v1.PaliGemmaService", "Caption");
        metrics.OnStep({.prefill = k % 2 == 0, .num_rows = 1, .num_tokens = 1});
        metrics.RequestFinished(Task::kCaption, OkStatus(), result);
      }
    });
  }
  for (int i = 0; i < 5; ++i) {
    EXPECT_FALSE(metrics.ExportText({.requests_waiting = i}).empty());
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(metrics.ExportText({}), HasSubstr("\npaligemma_output_tokens_total 800"));
}

}  // namespace
}  // namespace paligemma
