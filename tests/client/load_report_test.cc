// SPDX-License-Identifier: Apache-2.0
#include "client/load_report.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <numeric>

namespace paligemma::client {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<double> Numbers(int count) {
  std::vector<double> values(static_cast<size_t>(count));
  std::iota(values.begin(), values.end(), 1.0);
  return values;
}

TEST(PercentileTest, IsTheNearestRank) {
  EXPECT_EQ(Percentile(Numbers(20), 50), 10);
  EXPECT_EQ(Percentile(Numbers(100), 90), 90);
  EXPECT_EQ(Percentile(Numbers(1000), 99), 990);
  EXPECT_EQ(Percentile(Numbers(10'000), 99.9), 9990);
}

TEST(PercentileTest, NeedsTenSamplesBeyondIt) {
  for (const auto& [percent, needed] :
       {std::pair(50.0, 20), std::pair(90.0, 100), std::pair(95.0, 200), std::pair(99.0, 1000),
        std::pair(99.9, 10'000)}) {
    EXPECT_EQ(SamplesNeeded(percent), needed);
    EXPECT_NE(Percentile(Numbers(needed), percent), std::nullopt) << percent;
    EXPECT_EQ(Percentile(Numbers(needed - 1), percent), std::nullopt) << percent;
  }
  EXPECT_EQ(Percentile({}, 50), std::nullopt);
}

const TimePoint kStart = TimePoint(std::chrono::hours(1));

LoadSample Sample(Duration due, Duration sent, Duration done) {
  LoadSample sample{kStart + due, kStart + sent, kStart + done, CallOutcome()};
  sample.outcome.tokens = 5;
  sample.outcome.images = 1;
  return sample;
}

LoadSample Failed(Duration due, const char* code, const char* reason) {
  LoadSample sample = Sample(due, due, due);
  sample.outcome.code = code;
  sample.outcome.reason = reason;
  return sample;
}

// From second 1 to second 11.
LoadResult Result(std::vector<LoadSample> samples) {
  return {kStart + seconds(1), kStart + seconds(11), std::move(samples)};
}

const Figure& Find(const std::vector<Figure>& figures, const std::string& name) {
  for (const Figure& figure : figures) {
    if (figure.name == name) return figure;
  }
  ADD_FAILURE() << "no figure " << name;
  return figures.front();
}

double ValueOf(const LoadResult& result, const std::string& name) {
  return Find(FiguresOf(result), name).value.value_or(-1);
}

TEST(FiguresTest, LatencyCountsFromTheScheduleAndFromTheSend) {
  std::vector<LoadSample> samples;
  for (int i = 0; i < 20; ++i) {
    samples.push_back(Sample(seconds(2), milliseconds(2100), milliseconds(2400)));
  }
  const LoadResult result = Result(std::move(samples));
  EXPECT_DOUBLE_EQ(ValueOf(result, "latency_from_schedule_p50"), 400);
  EXPECT_DOUBLE_EQ(ValueOf(result, "latency_from_send_p50"), 300);
  EXPECT_DOUBLE_EQ(ValueOf(result, "latest_send"), 100);
}

TEST(FiguresTest, WhatWasDueInTheWarmUpOrAfterTheEndDoesNotCount) {
  const LoadResult result = Result({Sample(seconds(0), seconds(0), milliseconds(500)),
                                    Sample(seconds(5), seconds(5), seconds(6)),
                                    Sample(seconds(11), seconds(11), seconds(12))});
  EXPECT_EQ(ValueOf(result, "requests_due"), 1);
  EXPECT_EQ(ValueOf(result, "requests_answered"), 1);
}

TEST(FiguresTest, RatesCountWhatEndedWithinTheTime) {
  // One from the warm-up ends in it, one of it ends after it.
  const LoadResult result = Result({Sample(seconds(0), seconds(0), seconds(2)),
                                    Sample(seconds(5), seconds(5), seconds(6)),
                                    Sample(seconds(10), seconds(10), seconds(20))});
  EXPECT_DOUBLE_EQ(ValueOf(result, "throughput"), 0.2);
  EXPECT_DOUBLE_EQ(ValueOf(result, "tokens"), 1.0);
  EXPECT_DOUBLE_EQ(ValueOf(result, "images"), 0.2);
  EXPECT_EQ(ValueOf(result, "requests_answered"), 2);
}

TEST(FiguresTest, TheFirstTokenCountsFromTheSchedule) {
  std::vector<LoadSample> samples(20, Sample(seconds(2), seconds(3), seconds(9)));
  for (LoadSample& sample : samples) sample.outcome.first_event = kStart + seconds(4);
  EXPECT_DOUBLE_EQ(ValueOf(Result(samples), "time_to_first_token_p50"), 2000);
}

TEST(FiguresTest, UnsupportedPercentilesAreRefusedWithTheReason) {
  const auto figures = FiguresOf(Result({Sample(seconds(2), seconds(2), seconds(3))}));
  const Figure& median = Find(figures, "latency_from_send_p50");
  EXPECT_EQ(median.value, std::nullopt);
  EXPECT_EQ(median.note, "needs 20 answers, there are 1");
  EXPECT_EQ(Find(figures, "time_to_first_token_p99").note,
            "needs 1000 streamed answers, there are 0");
}

TEST(FiguresTest, ErrorsAreCountedByCodeAndReasonAndHaveNoLatency) {
  const LoadResult result = Result({Failed(seconds(2), "UNAVAILABLE", "SERVER_OVERLOADED"),
                                    Failed(seconds(3), "UNAVAILABLE", "SERVER_OVERLOADED"),
                                    Failed(seconds(3), "DEADLINE_EXCEEDED", ""),
                                    Failed(seconds(0), "INTERNAL", "in the warm-up"),
                                    Sample(seconds(4), seconds(4), seconds(5))});
  EXPECT_EQ(ValueOf(result, "requests_failed"), 3);
  EXPECT_DOUBLE_EQ(ValueOf(result, "throughput"), 0.1);
  const ErrorCounts errors = ErrorsOf(result);
  EXPECT_EQ(errors.size(), 2u);
  EXPECT_EQ(errors.at({"UNAVAILABLE", "SERVER_OVERLOADED"}), 2);
  EXPECT_EQ(errors.at({"DEADLINE_EXCEEDED", ""}), 1);
}

TEST(FiguresTest, TheImageCachesShareIsTold) {
  std::vector<LoadSample> samples(4, Sample(seconds(2), seconds(2), seconds(3)));
  for (LoadSample& sample : samples) sample.outcome.image_tokens = 256;
  samples[0].outcome.cached_image_tokens = 256;
  EXPECT_DOUBLE_EQ(ValueOf(Result(samples), "image_cache_hits"), 25);
}

LoadReport ThreeRuns() {
  LoadReport report;
  report.flags = "cat.jpg --rate=5";
  report.commit = "abc";
  report.machine = {"a cpu", 2, "avx2", 16};
  report.server = "models/m";
  for (const double value : {3.0, 1.0, 2.0}) {
    report.runs.push_back({{"throughput", "requests/s", value, ""},
                           {"p99", "ms", value > 2 ? std::nullopt : std::optional(value), "few"}});
  }
  report.errors[{"UNAVAILABLE", "SERVER_OVERLOADED"}] = 2;
  return report;
}

TEST(ReportTest, JsonHasTheShapeOfEveryBenchmark) {
  const json report = json::parse(ReportJson(ThreeRuns()));
  EXPECT_EQ(report["benchmark"], "paligemma bench");
  EXPECT_EQ(report["machine"]["cores"], 2);
  EXPECT_EQ(report["commit"], "abc");
  EXPECT_EQ(report["flags"], "cat.jpg --rate=5");
  const json& row = report["rows"][0];
  EXPECT_EQ(row["name"], "throughput");
  EXPECT_EQ(row["ours"], json::parse(R"({"min": 1, "median": 2, "max": 3})"));
  for (const char* key : {"unit", "reference", "reference_name", "ratio", "note"}) {
    EXPECT_TRUE(row.contains(key)) << key;
  }
  EXPECT_TRUE(report["rows"][1]["ours"].is_null()) << "one run lacks it";
  EXPECT_EQ(report["errors"][0]["reason"], "SERVER_OVERLOADED");
  EXPECT_EQ(report["errors"][0]["count"], 2);
}

TEST(ReportTest, TextShowsMedianAndRangeAndNoRefusedNumber) {
  const std::string text = ReportText(ThreeRuns());
  EXPECT_THAT(text, HasSubstr("2.00 requests/s 1.00 to 3.00"));
  EXPECT_THAT(text, HasSubstr("few"));
  EXPECT_THAT(text, HasSubstr("error UNAVAILABLE SERVER_OVERLOADED: 2"));
  EXPECT_THAT(text, Not(HasSubstr("nan")));
}

TEST(MachineTest, IsReadFromProc) {
  const MachineInfo machine =
      ParseMachine("processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nflags\t\t: fpu avx2 amx_int8\n",
                   "MemTotal:       33554432 kB\nMemFree: 1 kB\n", 4);
  EXPECT_EQ(machine.cpu, "Some CPU @ 3 GHz");
  EXPECT_EQ(machine.isa, "avx2 amx_int8");
  EXPECT_EQ(machine.cores, 4);
  EXPECT_EQ(machine.memory_gb, 32);
  EXPECT_EQ(ParseMachine("", "", 1).cpu, "");
}

}  // namespace
}  // namespace paligemma::client
