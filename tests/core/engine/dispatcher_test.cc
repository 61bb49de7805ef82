// SPDX-License-Identifier: Apache-2.0
// One request at a time through dispatcher, engine and delivery: every way in which it can end.
#include "core/engine/dispatcher.h"

#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/fake_clock.h"
#include "tests/testing/fake_model_runner.h"
#include "tests/testing/fake_pipeline.h"
#include "tests/testing/fake_sink.h"

namespace paligemma {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr int kMaxTokens = 12;

Request Ask(const std::string& text, int max_tokens = kMaxTokens) {
  Request request;
  request.text = text;
  request.images.resize(1);
  request.max_tokens = max_tokens;
  return request;
}

std::string AnswerTo(const std::string& text, int max_tokens = kMaxTokens) {
  return FakeText(FakeModelRunner::Alone(FakeTokens(text), max_tokens));
}

class DispatcherTest : public ::testing::Test {
 protected:
  DispatcherTest() {
    options_.num_preprocess_threads = 2;
    options_.scheduler.max_batch_delay = std::chrono::milliseconds(0);
  }

  // Makes and starts the dispatcher under test.
  void Start(FakeModelRunner::Options model = {}) {
    dispatcher_ = std::make_unique<Dispatcher>(options_, nullptr, &clock_);
    Load(std::move(model));
  }
  void Load(FakeModelRunner::Options model = {}) {
    dispatcher_->Start({std::make_unique<FakeModelRunner>(std::move(model)),
                        std::make_unique<FakePreprocessor>(&preprocess_gate_), FakeVocabulary(),
                        nullptr});
  }

  RequestId Submit(Request request, const std::shared_ptr<FakeSink>& sink) {
    StatusOr<RequestId> id = dispatcher_->Submit(std::move(request), sink);
    EXPECT_TRUE(id.ok()) << id.status().ToString();
    return id.ok() ? *id : 0;
  }

  // The sink of a request that is taken.
  std::shared_ptr<FakeSink> Submitted(Request request) {
    auto sink = std::make_shared<FakeSink>();
    Submit(std::move(request), sink);
    return sink;
  }

  // Asks and waits.
  std::pair<Status, Answer> Run(Request request) { return Submitted(std::move(request))->Await(); }

  // Only a request that ended has let go of everything.
  void ExpectNothingHeld() {
    EXPECT_TRUE(dispatcher_->Drain(TimePoint::max()).ok());
    dispatcher_->AwaitIdle();
    const DispatcherStats stats = dispatcher_->Stats();
    EXPECT_EQ(stats.in_flight, 0);
    EXPECT_EQ(stats.queued, 0);
    EXPECT_EQ(stats.engine.blocks_used, 0);
    EXPECT_EQ(stats.engine.running_sequences + stats.engine.waiting_sequences, 0);
  }

  DispatcherOptions options_;
  FakeClock clock_;
  Gate preprocess_gate_, model_gate_;
  std::unique_ptr<Dispatcher> dispatcher_;  // last: uses the others
};

TEST_F(DispatcherTest, AnswersWithTheModelsText) {
  Start();
  const auto sink = Submitted(Ask("hello"));
  const auto [status, result] = sink->Await();
  EXPECT_TRUE(status.ok()) << status.ToString();
  ASSERT_THAT(result.candidates, SizeIs(1));
  EXPECT_EQ(result.candidates[0].text, AnswerTo("hello"));
  EXPECT_EQ(sink->streamed(), AnswerTo("hello"));
  EXPECT_EQ(result.usage.image_tokens, 6);
  EXPECT_EQ(result.usage.prompt_tokens, 6 + 5);
  ExpectNothingHeld();
}

TEST_F(DispatcherTest, LooksAheadWithoutChangingTheAnswer) {
  Start({.depth = 2});
  for (const char* text : {"one", "two", "three"}) {
    EXPECT_EQ(Run(Ask(text)).second.candidates[0].text, AnswerTo(text));
  }
  ExpectNothingHeld();
}

TEST_F(DispatcherTest, CutsAtAStopSequenceAndShowsNothingOfIt) {
  Start({.depth = 2});
  const std::string whole = AnswerTo("stop here");
  ASSERT_GT(whole.size(), 3u);
  Request request = Ask("stop here");
  request.stop_sequences = {whole.substr(2, 1)};
  const auto [status, result] = Run(std::move(request));
  EXPECT_TRUE(status.ok());
  const std::string expected = whole.substr(0, whole.find(whole[2]));
  EXPECT_EQ(result.candidates[0].text, expected);
  EXPECT_THAT(result.candidates[0].tokens, SizeIs(expected.size()));
  EXPECT_EQ(result.candidates[0].finish, FinishReason::kStop);
  EXPECT_EQ(result.candidates[0].matched_stop, whole.substr(2, 1));
  ExpectNothingHeld();
}

TEST_F(DispatcherTest, RunsCandidatesAsSequencesOfTheirOwn) {
  Start();
  Request request = Ask("several");
  request.num_candidates = 3;
  const auto [status, result] = Run(std::move(request));
  EXPECT_TRUE(status.ok());
  ASSERT_THAT(result.candidates, SizeIs(3));
  EXPECT_EQ(result.candidates[2].candidate_index, 2);
  ExpectNothingHeld();
}

TEST_F(DispatcherTest, RefusesBeforeTheModelIsThere) {
  dispatcher_ = std::make_unique<Dispatcher>(options_, nullptr, &clock_);
  const Status status = dispatcher_->Submit(Ask("early"), std::make_shared<FakeSink>()).status();
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_EQ(status.reason(), Reason::kModelLoading);
  EXPECT_GT(status.retry_after().count(), 0);
}

TEST_F(DispatcherTest, RefusesWhenTheQueueIsFull) {
  options_.admission.max_queued = 2;
  preprocess_gate_.Close();
  Start();
  const auto first = Submitted(Ask("first")), second = Submitted(Ask("second"));
  const Status status = dispatcher_->Submit(Ask("third"), std::make_shared<FakeSink>()).status();
  EXPECT_EQ(status.reason(), Reason::kServerOverloaded);
  EXPECT_GT(status.retry_after().count(), 0);
  preprocess_gate_.Open();
  EXPECT_TRUE(first->Await().first.ok());
  EXPECT_TRUE(second->Await().first.ok());
  ExpectNothingHeld();
}

TEST_F(DispatcherTest, RefusesBytesThatDoNotFitBesideThoseThatWait) {
  options_.admission.max_queued_bytes = 100;
  preprocess_gate_.Close();
  Start();
  const auto large = Submitted(Ask(std::string(90, 'x'), 1));  // alone, anything is admitted
  EXPECT_EQ(dispatcher_->Submit(Ask(std::string(20, 'y')), std::make_shared<FakeSink>())
                .status()
                .reason(),
            Reason::kServerOverloaded);
  preprocess_gate_.Open();
  EXPECT_TRUE(large->Await().first.ok());
}

TEST_F(DispatcherTest, ReturnsTheFieldThatPreprocessingRefused) {
  Start();
  const auto [status, result] = Run(Ask(""));
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(status.reason(), Reason::kFieldInvalid);
  EXPECT_THAT(result.candidates, IsEmpty());
  ExpectNothingHeld();
}

TEST_F(DispatcherTest, RefusesASequenceThatCouldNeverFit) {
  Start({.num_blocks = 4});
  const auto [status, result] = Run(Ask("too long for sixteen positions"));
  EXPECT_EQ(status.reason(), Reason::kPromptTooLong);
  ExpectNothingHeld();
}

TEST_F(DispatcherTest, CancelsWhileItWaits) {
  options_.num_preprocess_threads = 1;
  preprocess_gate_.Close();
  Start();
  auto first = std::make_shared<FakeSink>(), second = std::make_shared<FakeSink>();
  Submit(Ask("first"), first);
  preprocess_gate_.AwaitVisitor();
  const RequestId id = Submit(Ask("second"), second);
  dispatcher_->Cancel(id);
  EXPECT_EQ(second->Await().first.code(), StatusCode::kCancelled);
  EXPECT_FALSE(first->done());
  preprocess_gate_.Open();
  EXPECT_TRUE(first->Await().first.ok());
  ExpectNothingHeld();
}

TEST_F(DispatcherTest, CancelsWhileThePictureIsDecoded) {
  preprocess_gate_.Close();
  Start();
  auto sink = std::make_shared<FakeSink>();
  const RequestId id = Submit(Ask("picture"), sink);
  preprocess_gate_.AwaitVisitor();
  dispatcher_->Cancel(id);
  preprocess_gate_.Open();
  EXPECT_EQ(sink->Await().first.code(), StatusCode::kCancelled);
  ExpectNothingHeld();
}

TEST_F(DispatcherTest, CancelsInAStepAndGivesTheBlocksBack) {
  model_gate_.Close();
  Start({.gate = &model_gate_});
  auto sink = std::make_shared<FakeSink>();
  const RequestId id = Submit(Ask("in a step"), sink);
  model_gate_.AwaitVisitor();
  dispatcher_->Cancel(id);
  dispatcher_->Cancel(id);  // again: nothing more
  model_gate_.Open();
  EXPECT_EQ(sink->Await().first.code(), StatusCode::kCancelled);
  ExpectNothingHeld();
}

// Whoever asks why a request timed out looks at its phases: they add up however it ended.
TEST_F(DispatcherTest, TheTimeOfARequestWithoutATokenIsWaitingButForItsPreprocessing) {
  constexpr std::chrono::seconds kWait{7}, kDecode{2};
  options_.num_preprocess_threads = 1;
  preprocess_gate_.Close();
  model_gate_.Close();
  Start({.gate = &model_gate_});
  const auto submit = [this](const std::string& text) {
    auto sink = std::make_shared<FakeSink>();
    Request request = Ask(text);
    request.arrival = clock_.Now();
    const RequestId id = Submit(std::move(request), sink);
    return std::pair(id, sink);
  };
  const auto decoded = submit("decoded");
  preprocess_gate_.AwaitVisitor();
  const auto cancelled = submit("cancelled"), drained = submit("drained");
  clock_.Advance(kWait);
  dispatcher_->Cancel(cancelled.first);
  const RequestTiming of_cancelled = cancelled.second->Await().second.timing;
  EXPECT_EQ(of_cancelled.queue, kWait);
  EXPECT_EQ(of_cancelled.total, kWait);
  dispatcher_->Cancel(decoded.first);
  clock_.Advance(kDecode);
  preprocess_gate_.Open();
  const RequestTiming of_preprocessed = decoded.second->Await().second.timing;
  EXPECT_EQ(of_preprocessed.preprocess, kWait + kDecode);
  EXPECT_EQ(of_preprocessed.queue, Duration::zero());
  EXPECT_EQ(of_preprocessed.total, kWait + kDecode);
  model_gate_.AwaitVisitor();
  clock_.Advance(kWait);
  (void)dispatcher_->Drain(std::chrono::steady_clock::now());
  const RequestTiming of_drained = drained.second->Await().second.timing;
  EXPECT_EQ(of_drained.queue, kWait + kDecode + kWait);
  EXPECT_EQ(of_drained.total, of_drained.queue);
  model_gate_.Open();
}

TEST_F(DispatcherTest, EndsWithDeadlineExceededInAStep) {
  model_gate_.Close();
  Start({.gate = &model_gate_});
  Request request = Ask("late");
  request.deadline = clock_.Now() + std::chrono::seconds(1);
  const auto sink = Submitted(std::move(request));
  model_gate_.AwaitVisitor();
  clock_.Advance(std::chrono::seconds(2));
  model_gate_.Open();
  const auto [status, result] = sink->Await();
  EXPECT_EQ(status.code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(status.reason(), Reason::kDeadlineExceeded);
  ExpectNothingHeld();
}

TEST_F(DispatcherTest, ReturnsWhatThereIsWhenTheTimeBudgetEnds) {
  model_gate_.Close();
  Start({.gate = &model_gate_});
  Request request = Ask("budget");
  request.time_budget = clock_.Now() + std::chrono::seconds(1);
  const auto sink = Submitted(std::move(request));
  model_gate_.AwaitVisitor();
  clock_.Advance(std::chrono::seconds(2));
  model_gate_.Open();
  const auto [status, result] = sink->Await();
  EXPECT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(result.candidates[0].finish, FinishReason::kTimeBudget);
  EXPECT_EQ(result.candidates[0].text, AnswerTo("budget").substr(0, 1));
  ExpectNothingHeld();
}

TEST_F(DispatcherTest, RefusesADeadlineThatHasPassed) {
  Start();
  Request request = Ask("past");
  request.deadline = clock_.Now() - std::chrono::seconds(1);
  EXPECT_EQ(dispatcher_->Submit(std::move(request), std::make_shared<FakeSink>()).status().code(),
            StatusCode::kDeadlineExceeded);
}

// A server whose steps take a second each, with one long prompt before the door.
class SlowDispatcherTest : public DispatcherTest {
 protected:
  SlowDispatcherTest() {
    options_.admission.tokens_per_image = 6;
    Start({.num_blocks = 256, .step_time = std::chrono::seconds(1)});
    EXPECT_TRUE(Run(Ask("learn how fast it is")).first.ok());
    preprocess_gate_.Close();
    Submit(Ask(std::string(600, 'x'), 1), waiting_);
  }
  ~SlowDispatcherTest() override {
    preprocess_gate_.Open();
    waiting_->Await();
  }

  static Request Hasty(const Clock& clock) {
    Request request = Ask("hasty");
    request.deadline = clock.Now() + std::chrono::seconds(4);
    return request;
  }
  Status Refusal(Request request) {
    return dispatcher_->Submit(std::move(request), std::make_shared<FakeSink>()).status();
  }

  std::shared_ptr<FakeSink> waiting_ = std::make_shared<FakeSink>();
};

TEST_F(SlowDispatcherTest, RefusesWhatWouldBeLateForTheQueueBeforeIt) {
  const Status status = Refusal(Hasty(clock_));
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_EQ(status.reason(), Reason::kServerOverloaded);
  EXPECT_GT(status.retry_after().count(), 0);
}

TEST_F(SlowDispatcherTest, RefusesWhatCouldNotBeInTimeIfItWereAlone) {
  Request request = Hasty(clock_);
  request.sampling.min_tokens = 12;  // eleven steps after the first
  const Status status = Refusal(std::move(request));
  EXPECT_EQ(status.code(), StatusCode::kDeadlineExceeded);
  EXPECT_THAT(status.metadata(), ::testing::Contains(::testing::Pair("phase", "admission")));
}

TEST_F(SlowDispatcherTest, AdmitsWhatHasTimeAndWhatGoesFirst) {
  Request patient = Hasty(clock_);
  patient.deadline += std::chrono::minutes(5);
  Request urgent = Hasty(clock_);
  urgent.priority = Priority::kHigh;
  Request unbounded = Ask("unbounded");
  for (Request* request : {&patient, &urgent, &unbounded}) {
    auto sink = std::make_shared<FakeSink>();
    Submit(std::move(*request), sink);
    preprocess_gate_.Open();
    EXPECT_TRUE(sink->Await().first.ok());
    waiting_->Await();
    preprocess_gate_.Close();
    waiting_ = std::make_shared<FakeSink>();
    Submit(Ask(std::string(600, 'x'), 1), waiting_);
  }
}

TEST_F(SlowDispatcherTest, AnIdleServerTriesWhateverItsSpeedWas) {
  preprocess_gate_.Open();
  waiting_->Await();
  dispatcher_->AwaitEnds();  // OnDone comes a moment before the dispatcher forgets the request
  Request request = Hasty(clock_);
  request.sampling.min_tokens = 12;
  EXPECT_TRUE(Run(std::move(request)).first.ok());
}

TEST_F(DispatcherTest, AFaultOfOneStepEndsItsRequestsAndNoOther) {
  Start({.failures = {{0, InternalError("injected")}}});
  const auto [status, result] = Run(Ask("unlucky"));
  EXPECT_EQ(status.code(), StatusCode::kInternal);
  EXPECT_EQ(Run(Ask("lucky")).second.candidates[0].text, AnswerTo("lucky"));
  ExpectNothingHeld();
}

// F48: what raises in the prefill or in the fourth token of one request, with and without
// look-ahead.
class PoisonTest : public DispatcherTest,
                   public ::testing::WithParamInterface<std::tuple<int, int>> {};

TEST_P(PoisonTest, ARequestThatNoStepSurvivesFailsAloneAndItsNeighboursKeepTheirTokens) {
  const int output_index = std::get<0>(GetParam()), depth = std::get<1>(GetParam());
  const std::vector<std::string> texts = {"one", "two", "poison", "four", "five"};
  ASSERT_GT(AnswerTo("poison").size(), 4u);
  model_gate_.Close();
  Start({.depth = depth, .gate = &model_gate_, .is_poison = [=](const BatchRow& row) {
           return row.output_index >= output_index && row.sequence->prompt == FakeTokens("poison");
         }});
  std::vector<std::shared_ptr<FakeSink>> sinks;
  for (const std::string& text : texts) {
    sinks.push_back(std::make_shared<FakeSink>());
    Submit(Ask(text), sinks.back());
  }
  model_gate_.Open();
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto [status, result] = sinks[i]->Await();
    if (texts[i] == "poison") {
      EXPECT_EQ(status.code(), StatusCode::kInternal) << status.ToString();
      EXPECT_EQ(sinks[i]->streamed(), AnswerTo("poison").substr(0, output_index));
    } else {
      EXPECT_TRUE(status.ok()) << texts[i] << ": " << status.ToString();
      EXPECT_EQ(sinks[i]->streamed(), AnswerTo(texts[i]));
    }
  }
  ExpectNothingHeld();
}

INSTANTIATE_TEST_SUITE_P(OutputIndexAndDepth, PoisonTest,
                         ::testing::Combine(::testing::Values(0, 3), ::testing::Values(1, 2)));

TEST_F(DispatcherTest, DrainsWhatItAcceptedAndRefusesTheRest) {
  model_gate_.Close();
  Start({.gate = &model_gate_});
  const auto sink = Submitted(Ask("accepted"));
  model_gate_.AwaitVisitor();
  dispatcher_->StopAdmission();
  EXPECT_EQ(dispatcher_->Submit(Ask("refused"), std::make_shared<FakeSink>()).status().reason(),
            Reason::kServerDraining);
  model_gate_.Open();
  EXPECT_TRUE(dispatcher_->Drain(TimePoint::max()).ok());
  EXPECT_EQ(sink->Await().second.candidates[0].text, AnswerTo("accepted"));
}

TEST_F(DispatcherTest, EndsWhatIsLeftAtTheDrainsDeadline) {
  model_gate_.Close();
  Start({.gate = &model_gate_});
  const auto sink = Submitted(Ask("stuck"));
  model_gate_.AwaitVisitor();
  EXPECT_EQ(dispatcher_->Drain(std::chrono::steady_clock::now()).code(),
            StatusCode::kDeadlineExceeded);
  EXPECT_EQ(sink->Await().first.reason(), Reason::kServerDraining);
  model_gate_.Open();
}

TEST_F(DispatcherTest, WhosePictureIsDecodedWhenAllAreEndedMayAskAnotherServer) {
  preprocess_gate_.Close();
  Start();
  const auto sink = Submitted(Ask("picture"));
  preprocess_gate_.AwaitVisitor();
  dispatcher_->EndAll();
  preprocess_gate_.Open();
  EXPECT_EQ(sink->Await().first.reason(), Reason::kServerDraining);
}

TEST_F(DispatcherTest, ItsEndEndsEveryRequest) {
  preprocess_gate_.Close();
  Start();
  const auto sink = Submitted(Ask("orphan"));
  preprocess_gate_.AwaitVisitor();
  preprocess_gate_.Open();
  dispatcher_.reset();
  EXPECT_TRUE(sink->done());
}

}  // namespace
}  // namespace paligemma
