// SPDX-License-Identifier: Apache-2.0
#include "core/base/heartbeat.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <thread>

#include "tests/testing/fake_clock.h"

namespace paligemma {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr seconds kTimeout{60};

class HeartbeatTest : public ::testing::Test {
 protected:
  std::vector<std::string> Late() const {
    std::vector<std::string> names;
    for (const Heartbeats::Late& late : heartbeats_.Overdue(kTimeout)) names.push_back(late.name);
    return names;
  }

  FakeClock clock_;
  Heartbeats heartbeats_{&clock_};
};

TEST_F(HeartbeatTest, AThreadWithoutWorkIsNeverLate) {
  Heartbeat heartbeat(&heartbeats_, "a");
  clock_.Advance(kTimeout * 100);
  EXPECT_THAT(Late(), IsEmpty());
  heartbeat.Beat();  // progress without work starts no time
  clock_.Advance(kTimeout * 100);
  EXPECT_THAT(Late(), IsEmpty());
}

TEST_F(HeartbeatTest, AThreadIsLateWhenItHasWorkForLongerThanTheTimeout) {
  Heartbeat first(&heartbeats_, "first"), second(&heartbeats_, "second");
  second.Expect();
  clock_.Advance(kTimeout);
  EXPECT_THAT(Late(), IsEmpty());
  clock_.Advance(seconds(1));
  EXPECT_THAT(Late(), ElementsAre("second"));
  EXPECT_EQ(heartbeats_.Overdue(kTimeout).front().silence, kTimeout + seconds(1));
  first.Expect();
  clock_.Advance(kTimeout * 2);
  EXPECT_THAT(Late(), ElementsAre("first", "second"));
}

TEST_F(HeartbeatTest, MoreWorkDoesNotStartTheTimeAnewButProgressDoes) {
  Heartbeat heartbeat(&heartbeats_, "a");
  heartbeat.Expect();
  clock_.Advance(kTimeout);
  heartbeat.Expect();
  clock_.Advance(seconds(1));
  EXPECT_THAT(Late(), ElementsAre("a"));
  heartbeat.Beat();
  EXPECT_THAT(Late(), IsEmpty());
  clock_.Advance(kTimeout + seconds(1));
  EXPECT_THAT(Late(), ElementsAre("a"));
}

TEST_F(HeartbeatTest, RestStopsTheTime) {
  Heartbeat heartbeat(&heartbeats_, "a");
  heartbeat.Expect();
  heartbeat.Rest();
  clock_.Advance(kTimeout * 2);
  EXPECT_THAT(Late(), IsEmpty());
}

TEST_F(HeartbeatTest, AThreadThatDoesNotAnswerIsLate) {
  int num_asked = 0;
  Heartbeat heartbeat(&heartbeats_, "asked",
                      {.essential = false, .ask = [&num_asked] { ++num_asked; }});
  heartbeats_.Ask();
  heartbeats_.Ask();
  EXPECT_EQ(num_asked, 1) << "a thread is asked again only after it has answered";
  heartbeat.Rest();
  heartbeats_.Ask();
  EXPECT_EQ(num_asked, 2);
  clock_.Advance(kTimeout + seconds(1));
  ASSERT_THAT(Late(), ElementsAre("asked"));
  EXPECT_FALSE(heartbeats_.Overdue(kTimeout).front().essential);
}

TEST_F(HeartbeatTest, AThreadThatHasEndedIsForgotten) {
  auto heartbeat = std::make_unique<Heartbeat>(&heartbeats_, "a");
  heartbeat->Expect();
  clock_.Advance(kTimeout * 2);
  heartbeat.reset();
  EXPECT_THAT(Late(), IsEmpty());
}

TEST_F(HeartbeatTest, AThreadThatIsAboutToEndIsNotAskedAnyMore) {
  int num_asked = 0;
  Heartbeat heartbeat(&heartbeats_, "a", {.essential = true, .ask = [&num_asked] { ++num_asked; }});
  heartbeat.Withdraw();
  heartbeats_.Ask();
  EXPECT_EQ(num_asked, 0);
}

TEST_F(HeartbeatTest, NobodyNeedsToWatch) {
  Heartbeat heartbeat(nullptr, "a");
  heartbeat.Expect();
  heartbeat.Beat();
  heartbeat.Rest();
}

TEST_F(HeartbeatTest, ThreadsComeAndGoWhileTheWatchdogLooks) {
  std::atomic<bool> done{false};
  std::thread worker([&] {
    for (int i = 0; i < 1000; ++i) {
      Heartbeat heartbeat(&heartbeats_, "a", {.essential = true, .ask = [] {}});
      heartbeat.Expect();
      heartbeat.Beat();
      heartbeat.Rest();
    }
    done = true;
  });
  while (!done) {
    heartbeats_.Ask();
    clock_.Advance(seconds(1));
    heartbeats_.Overdue(kTimeout);
  }
  worker.join();
}

}  // namespace
}  // namespace paligemma
