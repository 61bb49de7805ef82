// SPDX-License-Identifier: Apache-2.0
#include "client/bench_report.h"

#include <gmock/gmock.h>

#include <numeric>

namespace paligemma::client {
namespace {

std::vector<double> Numbers(int count) {
  std::vector<double> values(static_cast<size_t>(count));
  std::iota(values.begin(), values.end(), 1.0);
  return values;
}

TEST(BenchReportTest, PercentilesByNearestRank) {
  EXPECT_EQ(Percentile(Numbers(100), 50), 50);
  EXPECT_EQ(Percentile(Numbers(100), 90), 90);
  EXPECT_EQ(Percentile(Numbers(1000), 99), 990);
}

TEST(BenchReportTest, NoPercentileThatTheSamplesDoNotSupport) {
  EXPECT_EQ(Percentile({}, 50), std::nullopt);
  EXPECT_EQ(Percentile(Numbers(99), 90), std::nullopt);
  EXPECT_EQ(Percentile(Numbers(999), 99), std::nullopt);
}

TEST(BenchReportTest, ErrorsAreCountedApart) {
  BenchReport report;
  report.mode = "closed";
  report.seconds = 2;
  report.samples = {{0.1, 0.1, 5, 1, ""}, {0, 0, 0, 0, "UNAVAILABLE SERVER_OVERLOADED"}};
  const std::string json = ReportJson(report);
  EXPECT_THAT(json, ::testing::HasSubstr("\"answered\":1,\"failed\":1"));
  EXPECT_THAT(json, ::testing::HasSubstr("\"tokens_per_second\":2.5"));
  EXPECT_THAT(json, ::testing::HasSubstr("\"UNAVAILABLE SERVER_OVERLOADED\":1"));
}

}  // namespace
}  // namespace paligemma::client
