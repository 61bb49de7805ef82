// SPDX-License-Identifier: Apache-2.0
#include "client/load_generator.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>

#include "tests/testing/fake_clock.h"

namespace paligemma::client {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Time stands still but for sleeps and calls. For one worker.
class FakeTimer final : public LoadTimer {
 public:
  TimePoint Now() const override { return clock_.Now(); }
  void SleepUntil(TimePoint when) override {
    if (when > Now()) Advance(when - Now());
  }
  void Advance(Duration duration) { clock_.Advance(duration); }

 private:
  FakeClock clock_;
};

class LoadGeneratorTest : public ::testing::Test {
 protected:
  LoadGeneratorTest() {
    options_.workers = 1;
    options_.duration = seconds(10);
  }

  LoadResult Run(Duration call_time) {
    return GenerateLoad(options_, &timer_, [&](size_t) {
      timer_.Advance(call_time);
      return CallOutcome();
    });
  }

  LoadOptions options_;
  FakeTimer timer_;
};

TEST_F(LoadGeneratorTest, AClosedLoopSendsWhenTheLastCallEnded) {
  const LoadResult result = Run(milliseconds(250));
  ASSERT_EQ(result.samples.size(), 40u);
  for (size_t i = 0; i < result.samples.size(); ++i) {
    EXPECT_EQ(result.samples[i].due, result.begin + milliseconds(250) * static_cast<int>(i));
    EXPECT_EQ(result.samples[i].sent, result.samples[i].due);
    EXPECT_EQ(result.samples[i].done - result.samples[i].sent, milliseconds(250));
  }
}

TEST_F(LoadGeneratorTest, WarmUpComesBeforeWhatIsMeasured) {
  options_.warmup = seconds(2);
  const TimePoint start = timer_.Now();
  const LoadResult result = Run(seconds(1));
  EXPECT_EQ(result.begin, start + seconds(2));
  EXPECT_EQ(result.end, start + seconds(12));
  EXPECT_EQ(result.samples.size(), 12u);
}

TEST_F(LoadGeneratorTest, AnOpenLoopKeepsItsScheduleWhateverTheServerDoes) {
  options_.rate = 20;
  const LoadResult quick = Run(Duration(0));
  const LoadResult slow = Run(milliseconds(100));  // half of what is asked
  ASSERT_EQ(quick.samples.size(), slow.samples.size());
  for (size_t i = 0; i < quick.samples.size(); ++i) {
    EXPECT_EQ(quick.samples[i].due - quick.begin, slow.samples[i].due - slow.begin);
    EXPECT_EQ(quick.samples[i].sent, quick.samples[i].due);
  }
}

TEST_F(LoadGeneratorTest, ALateRequestCountsFromWhenItWasDue) {
  options_.rate = 20;
  const LoadResult result = Run(milliseconds(100));
  TimePoint free{};
  for (const LoadSample& sample : result.samples) {
    EXPECT_EQ(sample.sent, std::max(sample.due, free));
    EXPECT_EQ(sample.done - sample.sent, milliseconds(100));
    free = sample.done;
  }
  // Twice the load that one worker can send: the last one waited for about half of the time.
  EXPECT_GT(result.samples.back().sent - result.samples.back().due, seconds(5));
}

TEST_F(LoadGeneratorTest, ArrivalsAreThoseOfAPoissonProcess) {
  options_.rate = 100;
  options_.duration = seconds(100);
  const LoadResult result = Run(Duration(0));
  // 10,000 expected, with a standard deviation of 100.
  EXPECT_NEAR(static_cast<double>(result.samples.size()), 10'000, 500);
  // Gaps of an exponential distribution: exp(-1) of them exceed their mean.
  int longer = 0;
  TimePoint last = result.begin;
  for (const LoadSample& sample : result.samples) {
    longer += sample.due - last > milliseconds(10);
    last = sample.due;
  }
  EXPECT_NEAR(longer / 10'000.0, 0.3679, 0.03);
}

TEST_F(LoadGeneratorTest, ASeedRepeatsItsScheduleAndAnotherDoesNot) {
  options_.rate = 20;
  const LoadResult first = Run(Duration(0)), again = Run(Duration(0));
  options_.seed = 2;
  const LoadResult other = Run(Duration(0));
  ASSERT_EQ(first.samples.size(), again.samples.size());
  EXPECT_EQ(first.samples[3].due - first.begin, again.samples[3].due - again.begin);
  EXPECT_NE(first.samples[3].due - first.begin, other.samples[3].due - other.begin);
}

TEST_F(LoadGeneratorTest, KindsComeByTheirWeights) {
  options_.weights = {1, 0, 3};
  options_.duration = seconds(4000);
  std::vector<int> counts(3);
  GenerateLoad(options_, &timer_, [&](size_t kind) {
    ++counts[kind];
    timer_.Advance(seconds(1));
    return CallOutcome();
  });
  EXPECT_EQ(counts[1], 0);
  EXPECT_NEAR(counts[2], 3000, 150);
}

TEST_F(LoadGeneratorTest, WorkersSendAtTheSameTime) {
  options_.workers = 4;
  std::latch all(options_.workers);
  std::atomic<int> inside{0};
  GenerateLoad(options_, &timer_, [&](size_t) {
    if (++inside == options_.workers) timer_.Advance(options_.duration);
    all.arrive_and_wait();  // for ever, were they in turn
    return CallOutcome();
  });
  EXPECT_EQ(inside, 4);
}

}  // namespace
}  // namespace paligemma::client
