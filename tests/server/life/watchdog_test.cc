// SPDX-License-Identifier: Apache-2.0
#include "server/life/watchdog.h"

#include <gmock/gmock.h>

#include "client/health.h"
#include "core/engine/dispatcher.h"
#include "tests/server/services/test_server.h"
#include "tests/testing/fake_clock.h"
#include "tests/testing/fake_pipeline.h"
#include "tests/testing/fake_sink.h"

namespace paligemma {
namespace {

constexpr std::chrono::seconds kTimeout{60};

// An engine whose steps end when the test opens the gate, watched by a clock that stands still.
class WatchdogTest : public ServerTest {
 protected:
  WatchdogTest() : dispatcher_(WatchedOptions(&heartbeats_), nullptr, &clock_) {
    Dispatcher::Parts parts;
    FakeModelRunner::Options options;
    options.gate = &gate_;
    parts.runner = std::make_unique<FakeModelRunner>(options);
    parts.preprocessor = std::make_unique<FakePreprocessor>();
    parts.vocabulary = FakeVocabulary();
    dispatcher_.Start(std::move(parts));
    Watchdog::Options watch;
    watch.timeout = kTimeout;
    watch.heartbeats = &heartbeats_;
    watch.on_stuck = [this](const std::vector<Heartbeats::Late>& late) {
      ++num_stuck_;
      description_ = Describe(late);
      SetStalled(true);
      dispatcher_.EndAll();
    };
    watch.on_recovered = [this] { SetStalled(false); };
    watchdog_ = std::make_unique<Watchdog>(std::move(watch));
    BecomeReady();
  }
  ~WatchdogTest() override { gate_.Open(); }

  static DispatcherOptions WatchedOptions(Heartbeats* heartbeats) {
    DispatcherOptions options;
    options.heartbeats = heartbeats;
    return options;
  }
  std::shared_ptr<FakeSink> Submit() {
    Request request;
    request.text = "a prompt";
    request.max_tokens = 3;
    auto sink = std::make_shared<FakeSink>();
    PG_CHECK(dispatcher_.Submit(std::move(request), sink).ok()) << "refused";
    return sink;
  }
  // Waits until no thread has work any more.
  void AwaitRest() {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!heartbeats_.Overdue(Duration(-1)).empty()) {
      PG_CHECK(std::chrono::steady_clock::now() < until) << "a thread has found no rest";
    }
  }
  bool Healthy(const std::string& service) {
    const auto healthy = client::CheckHealth(channel_, service, std::chrono::seconds(20));
    PG_CHECK(healthy.ok()) << healthy.status().ToString();
    return *healthy;
  }

  FakeClock clock_;
  Heartbeats heartbeats_{&clock_};
  Gate gate_;
  Dispatcher dispatcher_;
  std::unique_ptr<Watchdog> watchdog_;
  int num_stuck_ = 0;
  std::string description_;  // of the threads that were late at the last look
};

TEST_F(WatchdogTest, AStepThatDoesNotEndInTimeFlipsHealth) {
  gate_.Close();
  const auto sink = Submit();
  gate_.AwaitVisitor();
  clock_.Advance(kTimeout);
  EXPECT_FALSE(watchdog_->Check()) << "the time is not over";
  EXPECT_TRUE(Healthy("liveness"));
  clock_.Advance(std::chrono::milliseconds(1));
  EXPECT_TRUE(watchdog_->Check());
  EXPECT_THAT(description_, ::testing::HasSubstr("pg-engine: no progress for 1m\n"));
  for (const char* service : {"", "paligemma.v1.PaliGemmaService", "readiness", "liveness"}) {
    EXPECT_FALSE(Healthy(service)) << service;
  }
  grpc::ClientContext context;
  v1::GenerateResponse response;
  EXPECT_EQ(ReasonOf(stub_->Generate(&context, GoodRequest(), &response)), "SERVER_DRAINING");
  EXPECT_EQ(sink->Await().first.reason(), Reason::kServerDraining);
  gate_.Open();
}

TEST_F(WatchdogTest, AStepThatEndsAfterAllMakesTheServerHealthyAgain) {
  gate_.Close();
  Submit();
  gate_.AwaitVisitor();
  clock_.Advance(kTimeout * 2);
  EXPECT_TRUE(watchdog_->Check());
  const auto slipped_in = Submit();
  while (!slipped_in->done()) EXPECT_TRUE(watchdog_->Check());  // each look ends what it finds
  EXPECT_FALSE(slipped_in->Await().first.ok());
  gate_.Open();
  AwaitRest();
  EXPECT_FALSE(watchdog_->Check());
  for (const char* service : {"", "paligemma.v1.PaliGemmaService", "readiness", "liveness"}) {
    EXPECT_TRUE(Healthy(service)) << service;
  }
  EXPECT_TRUE(Submit()->Await().first.ok());
  gate_.Close();
  Submit();
  gate_.AwaitVisitor();
  clock_.Advance(kTimeout * 2);
  num_stuck_ = 0;
  EXPECT_TRUE(watchdog_->Check()) << "the next one is noticed as well";
  EXPECT_EQ(num_stuck_, 1);
}

TEST_F(WatchdogTest, ADrainingServerThatRecoversStaysNotReady) {
  SetPhase(Phase::kDraining);
  SetStalled(true);
  SetStalled(false);
  EXPECT_FALSE(Healthy("readiness"));
  EXPECT_TRUE(Healthy("liveness"));
}

TEST_F(WatchdogTest, AnIdleEngineMayRestForHours) {
  Submit()->Await();
  AwaitRest();
  clock_.Advance(std::chrono::hours(5));
  EXPECT_FALSE(watchdog_->Check());
  EXPECT_TRUE(Healthy("liveness"));
}

TEST_F(WatchdogTest, StepsThatEndStartTheTimeAnew) {
  for (int i = 0; i < 5; ++i) {
    clock_.Advance(kTimeout - std::chrono::seconds(1));
    Submit()->Await();
    AwaitRest();
    EXPECT_FALSE(watchdog_->Check());
  }
}

TEST_F(ServerTest, TheThreadsOfCompletionQueuesAnswerWhenTheyAreAsked) {
  for (int i = 0; i < 3; ++i) {
    transport_heartbeats_.Ask();
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!transport_heartbeats_.Overdue(Duration(-1)).empty()) {
      ASSERT_LT(std::chrono::steady_clock::now(), until);
    }
  }
}

TEST(WatchdogThreadTest, AWatchdogThatHangsIsLateItself) {
  FakeClock clock;
  Heartbeats heartbeats(&clock);
  Gate gate;
  gate.Close();
  Heartbeat stuck(&heartbeats, "stuck");
  stuck.Expect();
  clock.Advance(std::chrono::seconds(1));
  Watchdog::Options options;
  options.timeout = std::chrono::milliseconds(4);
  options.heartbeats = &heartbeats;
  options.on_stuck = [&gate](const auto&) { gate.Pass(); };
  Watchdog watchdog(std::move(options));
  watchdog.Start();
  gate.AwaitVisitor();
  clock.Advance(std::chrono::seconds(1));
  EXPECT_EQ(Describe(heartbeats.Overdue(std::chrono::milliseconds(4))),
            "stuck: no progress for 2s\npg-watchdog: no progress for 1s\n");
  gate.Open();
}

}  // namespace
}  // namespace paligemma
