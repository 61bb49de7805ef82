// SPDX-License-Identifier: Apache-2.0
// A thread that stands still is named by its heartbeat, whichever thread of the engine it is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/heartbeat.h"
#include "core/engine/dispatcher.h"
#include "tests/testing/fake_clock.h"
#include "tests/testing/fake_pipeline.h"
#include "tests/testing/fake_sink.h"

namespace paligemma {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;

constexpr std::chrono::seconds kTimeout{60};

// A client's end that stands still until the test opens the gate.
class GatedSink final : public ResponseSink {
 public:
  GatedSink(Gate* gate, std::shared_ptr<FakeSink> next) : gate_(gate), next_(std::move(next)) {}
  void OnDone(Status status, Answer result) override {
    gate_->Pass();
    next_->OnDone(std::move(status), std::move(result));
  }

 private:
  Gate* const gate_;
  const std::shared_ptr<FakeSink> next_;
};

class StuckThreadsTest : public ::testing::Test {
 protected:
  ~StuckThreadsTest() override { gate_.Open(); }

  // The gate stops the thread that is given it.
  void Start(Gate* of_engine, Gate* of_preprocessing) {
    DispatcherOptions options;
    options.heartbeats = &heartbeats_;
    options.num_preprocess_threads = 1;
    dispatcher_ = std::make_unique<Dispatcher>(options, nullptr, &clock_);
    FakeModelRunner::Options runner;
    runner.gate = of_engine;
    dispatcher_->Start({std::make_unique<FakeModelRunner>(runner),
                        std::make_unique<FakePreprocessor>(of_preprocessing), FakeVocabulary(),
                        nullptr});
    gate_.Close();
  }
  void Submit(std::shared_ptr<ResponseSink> sink) {
    Request request;
    request.text = "a prompt";
    request.max_tokens = 3;
    PG_CHECK(dispatcher_->Submit(std::move(request), std::move(sink)).ok()) << "refused";
  }
  std::vector<std::string> LateAfterTheTimeout() {
    clock_.Advance(kTimeout + std::chrono::seconds(1));
    std::vector<std::string> names;
    for (const Heartbeats::Late& late : heartbeats_.Overdue(kTimeout)) names.push_back(late.name);
    return names;
  }
  // Opens the gate and expects that every thread finds rest afterwards.
  void ExpectRest(const std::shared_ptr<FakeSink>& sink) {
    gate_.Open();
    sink->Await();
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!LateAfterTheTimeout().empty()) ASSERT_LT(std::chrono::steady_clock::now(), until);
  }

  FakeClock clock_;
  Heartbeats heartbeats_{&clock_};
  Gate gate_;
  std::unique_ptr<Dispatcher> dispatcher_;
  const std::shared_ptr<FakeSink> sink_ = std::make_shared<FakeSink>();
};

TEST_F(StuckThreadsTest, AStepThatDoesNotEndIsTheEnginesFault) {
  Start(&gate_, nullptr);
  Submit(sink_);
  gate_.AwaitVisitor();
  EXPECT_THAT(LateAfterTheTimeout(), Contains("pg-engine"));
  ExpectRest(sink_);
}

TEST_F(StuckThreadsTest, ASinkThatDoesNotReturnIsDeliverysFault) {
  Start(nullptr, nullptr);
  Submit(std::make_shared<GatedSink>(&gate_, sink_));
  gate_.AwaitVisitor();
  dispatcher_->AwaitIdle();
  EXPECT_THAT(LateAfterTheTimeout(), Contains("pg-delivery"));
  ExpectRest(sink_);
}

TEST_F(StuckThreadsTest, APictureThatIsNeverDoneIsPreprocessingsFaultAndItsQueueStandsStillToo) {
  Start(nullptr, &gate_);
  Submit(sink_);
  gate_.AwaitVisitor();
  EXPECT_THAT(LateAfterTheTimeout(), Contains("pg-preprocess"));
  const auto second = std::make_shared<FakeSink>();
  Submit(second);
  EXPECT_THAT(LateAfterTheTimeout(), ElementsAre("pg-preprocess", "pg-preprocess"));
  gate_.Open();
  sink_->Await();
  ExpectRest(second);
}

}  // namespace
}  // namespace paligemma
