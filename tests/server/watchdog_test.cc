// SPDX-License-Identifier: Apache-2.0
#include "server/watchdog.h"

#include "client/health.h"
#include "core/engine/dispatcher.h"
#include "tests/server/test_server.h"
#include "tests/testing/await_idle.h"
#include "tests/testing/fake_clock.h"
#include "tests/testing/fake_pipeline.h"
#include "tests/testing/fake_sink.h"

namespace paligemma {
namespace {

constexpr std::chrono::seconds kTimeout{60};

// An engine whose steps end when the test opens the gate, watched by a clock that stands still.
class WatchdogTest : public ServerTest {
 protected:
  WatchdogTest() : dispatcher_(DispatcherOptions(), nullptr, &clock_) {
    Dispatcher::Parts parts;
    FakeModelRunner::Options options;
    options.gate = &gate_;
    parts.runner = std::make_unique<FakeModelRunner>(options);
    parts.preprocessor = std::make_unique<FakePreprocessor>();
    parts.vocabulary = FakeVocabulary();
    dispatcher_.Start(std::move(parts));
    Watchdog::Options watch;
    watch.timeout = kTimeout;
    watch.clock = &clock_;
    watch.progress = [this] {
      return Watchdog::Progress{dispatcher_.Stats().engine.busy, dispatcher_.LastProgress()};
    };
    watch.on_stuck = [this] {
      ++num_stuck_;
      SetStalled(true);
      dispatcher_.EndAll();
    };
    watch.on_recovered = [this] { SetStalled(false); };
    watchdog_ = std::make_unique<Watchdog>(std::move(watch));
    BecomeReady();
  }
  ~WatchdogTest() override { gate_.Open(); }

  std::shared_ptr<FakeSink> Submit() {
    Request request;
    request.text = "a prompt";
    request.max_tokens = 3;
    auto sink = std::make_shared<FakeSink>();
    PG_CHECK(dispatcher_.Submit(std::move(request), sink).ok()) << "refused";
    return sink;
  }
  bool Healthy(const std::string& service) {
    const auto healthy = client::CheckHealth(channel_, service, std::chrono::seconds(20));
    PG_CHECK(healthy.ok()) << healthy.status().ToString();
    return *healthy;
  }

  FakeClock clock_;
  Gate gate_;
  Dispatcher dispatcher_;
  std::unique_ptr<Watchdog> watchdog_;
  int num_stuck_ = 0;
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
  AwaitIdle(dispatcher_);
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
  AwaitIdle(dispatcher_);
  clock_.Advance(std::chrono::hours(5));
  EXPECT_FALSE(watchdog_->Check());
  EXPECT_TRUE(Healthy("liveness"));
}

TEST_F(WatchdogTest, StepsThatEndStartTheTimeAnew) {
  for (int i = 0; i < 5; ++i) {
    clock_.Advance(kTimeout - std::chrono::seconds(1));
    Submit()->Await();
    EXPECT_FALSE(watchdog_->Check());
  }
}

}  // namespace
}  // namespace paligemma
