// SPDX-License-Identifier: Apache-2.0
#include "server/life/drain.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>

namespace paligemma {
namespace {

bool NoSignal(Millis) { return false; }
bool Signal(Millis) { return true; }

// Records the calls of the parts. Shared with the threads of a drain, which may outlive a test.
struct Calls {
  std::atomic<int> ends{0}, cancels{0};
  std::promise<void> ended;  // by end_requests
};

class RunDrainTest : public ::testing::Test {
 protected:
  // Parts that do nothing and report `engine` and `transport`.
  DrainParts Parts(bool engine = true, bool transport = true) const {
    DrainParts parts;
    parts.drain_engine = [engine](TimePoint) { return engine; };
    parts.shut_transport = [transport](Millis) { return transport; };
    parts.end_requests = [calls = calls_] {
      if (++calls->ends == 1) calls->ended.set_value();
    };
    parts.cancel_calls = [calls = calls_] { ++calls->cancels; };
    return parts;
  }

  const std::shared_ptr<Calls> calls_ = std::make_shared<Calls>();
};

TEST_F(RunDrainTest, IsCompleteWhenEngineAndTransportAre) {
  EXPECT_TRUE(RunDrain(Parts(), Millis(60'000), NoSignal));
  EXPECT_FALSE(RunDrain(Parts(/*engine=*/false), Millis(60'000), NoSignal));
  EXPECT_FALSE(RunDrain(Parts(/*engine=*/true, /*transport=*/false), Millis(60'000), NoSignal));
  EXPECT_EQ(calls_->ends, 0);
  EXPECT_EQ(calls_->cancels, 0);
}

TEST_F(RunDrainTest, TheTransportOutlastsTheEnginesDeadline) {
  DrainParts parts = Parts();
  const auto transport = std::make_shared<std::promise<Millis>>();
  parts.shut_transport = [transport](Millis patience) {
    transport->set_value(patience);
    return true;
  };
  EXPECT_TRUE(RunDrain(std::move(parts), Millis(60'000), NoSignal));
  EXPECT_GT(transport->get_future().get(), Millis(59'000));
}

TEST_F(RunDrainTest, ASignalEndsTheRequestsOnce) {
  DrainParts parts = Parts();
  const auto ended = std::make_shared<std::shared_future<void>>(calls_->ended.get_future());
  parts.drain_engine = [ended](TimePoint) {
    ended->wait();
    return false;
  };
  EXPECT_FALSE(RunDrain(std::move(parts), Millis(60'000), Signal));
  EXPECT_EQ(calls_->ends, 1);
}

TEST_F(RunDrainTest, ReturnsThoughTheEngineHangs) {
  DrainParts parts = Parts();
  const auto never = std::make_shared<std::promise<void>>();
  parts.drain_engine =
      [hang = std::make_shared<std::shared_future<void>>(never->get_future().share())](TimePoint) {
        hang->wait();
        return true;
      };
  EXPECT_FALSE(RunDrain(std::move(parts), std::nullopt, NoSignal));
  EXPECT_EQ(calls_->ends, 0) << "drain_engine ends them at its deadline";
  EXPECT_EQ(calls_->cancels, 1);
  never->set_value();
}

}  // namespace
}  // namespace paligemma
