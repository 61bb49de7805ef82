// SPDX-License-Identifier: Apache-2.0
// Step events in, a sink's calls out: order, masks, limits, and every way in which a request ends.
#include "core/engine/delivery.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/request/endings.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/fake_clock.h"
#include "tests/testing/fake_mask_decoder.h"
#include "tests/testing/fake_pipeline.h"

namespace paligemma {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

// Keeps all it gets.
class RecordingSink final : public ResponseSink {
 public:
  void OnDelta(AnswerDelta delta) override {
    MutexLock lock(&mutex_);
    EXPECT_FALSE(done_) << "a delta after the end";
    for (const Object& object : delta.objects) EXPECT_FALSE(MaskMaker::Lacks(object));
    deltas_.push_back(std::move(delta));
    changed_.NotifyAll();
  }
  void OnDone(Status status, Answer result) override {
    MutexLock lock(&mutex_);
    EXPECT_FALSE(done_) << "a second end";
    done_ = true;
    status_ = std::move(status);
    result_ = std::move(result);
    changed_.NotifyAll();
  }

  // Waits for the end.
  Status Await() {
    MutexLock lock(&mutex_);
    while (!done_) changed_.Wait(&mutex_);
    return status_;
  }
  void AwaitObjects(std::size_t count) {
    MutexLock lock(&mutex_);
    while (NumObjects() < count) changed_.Wait(&mutex_);
  }
  bool done() {
    MutexLock lock(&mutex_);
    return done_;
  }
  // The labels of all objects that came before the end, in order.
  std::vector<std::string> labels() {
    MutexLock lock(&mutex_);
    std::vector<std::string> labels;
    for (const AnswerDelta& delta : deltas_) {
      for (const Object& object : delta.objects) labels.push_back(object.label);
    }
    return labels;
  }
  std::string text() {
    MutexLock lock(&mutex_);
    std::string text;
    for (const AnswerDelta& delta : deltas_) text += delta.text;
    return text;
  }
  Answer result() {
    MutexLock lock(&mutex_);
    return result_;
  }

 private:
  std::size_t NumObjects() const PG_REQUIRES(mutex_) {
    std::size_t count = 0;
    for (const AnswerDelta& delta : deltas_) count += delta.objects.size();
    return count;
  }

  Mutex mutex_;
  CondVar changed_;
  std::vector<AnswerDelta> deltas_ PG_GUARDED_BY(mutex_);
  bool done_ PG_GUARDED_BY(mutex_) = false;
  Status status_ PG_GUARDED_BY(mutex_);
  Answer result_ PG_GUARDED_BY(mutex_);
};

class DeliveryTest : public ::testing::Test {
 protected:
  DeliveryTest() {
    request_.task = Task::kSegment;
    request_.streamed = true;
  }

  void Start(std::int64_t max_mask_pixels = kMaxMaskPixels) {
    Delivery::Hooks hooks;
    hooks.cancel = [this](SequenceId id) {
      MutexLock lock(&mutex_);
      cancelled_.push_back(id);
      changed_.NotifyAll();
    };
    hooks.finish = [](SequenceId, FinishReason) {};
    hooks.on_first_token = [](RequestId) {};
    hooks.retry_delay = [] { return std::chrono::milliseconds(0); };
    hooks.on_ended = [](RequestId) {};
    Delivery::Options options;
    options.mask_decoder = &decoder_;
    options.max_mask_pixels = max_mask_pixels;
    options.num_postprocess_threads = 1;
    delivery_ = std::make_unique<Delivery>(options, std::move(hooks), &clock_);
  }

  // Takes over a request of `num_prompts` sequences; their ids are 10 * `id` and up.
  std::shared_ptr<RecordingSink> Begin(RequestId id, int num_prompts = 1) {
    auto sink = std::make_shared<RecordingSink>();
    DeliveryRequest request;
    request.id = id;
    request.sink = sink;
    request.cancellation = cancellation_;
    request.arrival = clock_.Now();
    request.deadline = deadline_;
    request.streams_objects = request_.streamed;
    request.mask = request_.mask;
    request.result.images = {image_};
    for (int i = 0; i < num_prompts; ++i) {
      request.outputs.push_back({10 * id + static_cast<SequenceId>(i),
                                 std::make_unique<AnswerReader>(&vocabulary_, request_, image_)});
      request.result.candidates.emplace_back().prompt_index = i;
    }
    delivery_->Begin(std::move(request));
    return sink;
  }

  void Tokens(SequenceId sequence, const std::vector<TokenId>& tokens) {
    for (const TokenId token : tokens) {
      StepEvent event;
      event.sequence = sequence;
      event.has_token = true;
      event.output.token = token;
      delivery_->OnEvents({event}, clock_.Now());
    }
  }
  // Objects "a", "b" and so on, each over a quarter of the picture.
  void Objects(SequenceId sequence, int count, char first = 'a') {
    for (int i = 0; i < count; ++i) {
      Tokens(sequence, FakeObjectTokens({0, 0, 512, 512}, static_cast<char>(first + i), true));
    }
  }
  void EndSequence(SequenceId sequence, Status status = OkStatus()) {
    StepEvent event;
    event.sequence = sequence;
    event.finished = true;
    event.finish = status.ok() ? FinishReason::kStop : FinishReason::kNone;
    event.status = std::move(status);
    delivery_->OnEvents({event}, clock_.Now());
  }
  void AwaitCancelled(SequenceId id) {
    MutexLock lock(&mutex_);
    while (std::find(cancelled_.begin(), cancelled_.end(), id) == cancelled_.end()) {
      changed_.Wait(&mutex_);
    }
  }

  Vocabulary vocabulary_ = FakeVocabulary();
  Request request_;
  ImageInfo image_{100, 100, 1, ""};
  TimePoint deadline_ = kNoDeadline;
  std::shared_ptr<Cancellation> cancellation_ = std::make_shared<Cancellation>();
  FakeClock clock_;
  Gate gate_;
  FakeMaskDecoder decoder_{&gate_};
  Mutex mutex_;
  CondVar changed_;
  std::vector<SequenceId> cancelled_ PG_GUARDED_BY(mutex_);
  std::unique_ptr<Delivery> delivery_;  // last: uses the others
};

TEST_F(DeliveryTest, EachMaskIsDecodedOnceHoweverTheAnswerIsRead) {
  for (const bool streamed : {false, true}) {
    for (const int num_objects : {1, 4, 16}) {
      request_.streamed = streamed;
      Start();
      const int before = decoder_.num_decoded();
      const auto sink = Begin(1);
      Objects(10, num_objects);
      EndSequence(10);
      EXPECT_TRUE(sink->Await().ok());
      EXPECT_EQ(decoder_.num_decoded() - before, num_objects);
      const Answer result = sink->result();
      ASSERT_THAT(result.candidates[0].objects, SizeIs(num_objects));
      for (const Object& object : result.candidates[0].objects) {
        ASSERT_NE(object.mask, nullptr);
        EXPECT_TRUE(object.mask->is_rendered);
      }
      EXPECT_THAT(sink->labels(), SizeIs(streamed ? num_objects : 0));
    }
  }
}

TEST_F(DeliveryTest, ObjectsComeInOrderAndBeforeTheEnd) {
  Start();
  const auto sink = Begin(1);
  Objects(10, 3);
  sink->AwaitObjects(3);
  EXPECT_FALSE(sink->done());
  EndSequence(10);
  EXPECT_TRUE(sink->Await().ok());
  EXPECT_THAT(sink->labels(), ElementsAre("a", "b", "c"));
}

TEST_F(DeliveryTest, ObjectsOfLaterPromptsFollowThoseOfTheFirst) {
  Start();
  const auto sink = Begin(1, /*num_prompts=*/2);
  Objects(11, 2, 'x');
  Objects(10, 2);
  EndSequence(11);
  EndSequence(10);
  EXPECT_TRUE(sink->Await().ok());
  EXPECT_THAT(sink->labels(), ElementsAre("a", "b", "x", "y"));
}

TEST_F(DeliveryTest, MasksOfOneRequestDoNotHoldUpAnother) {
  Start();
  gate_.Close();
  const auto slow = Begin(1);
  Objects(10, 4);
  gate_.AwaitVisitor();
  request_.task = Task::kCaption;
  const auto other = Begin(2);
  Tokens(20, {0, 2, 3});
  EndSequence(20);
  EXPECT_TRUE(other->Await().ok());
  EXPECT_EQ(other->text(), "acd");
  EXPECT_FALSE(slow->done());
  gate_.Open();
  EndSequence(10);
  EXPECT_TRUE(slow->Await().ok());
}

TEST_F(DeliveryTest, ACancelDropsTheMasksThatWait) {
  Start();
  gate_.Close();
  const auto sink = Begin(1);
  Objects(10, 16);
  gate_.AwaitVisitor();
  EndSequence(10);  // the engine is done; only masks are left
  cancellation_->Set(Cancellation::Cause::kClient);
  gate_.Open();
  EXPECT_EQ(sink->Await().code(), StatusCode::kCancelled);
  EXPECT_EQ(decoder_.num_decoded(), 1);
}

TEST_F(DeliveryTest, ADeadlineDropsTheMasksThatWait) {
  deadline_ = clock_.Now() + std::chrono::seconds(1);
  Start();
  gate_.Close();
  const auto sink = Begin(1);
  Objects(10, 16);
  EndSequence(10);
  gate_.AwaitVisitor();
  clock_.Advance(std::chrono::seconds(2));
  gate_.Open();
  EXPECT_EQ(sink->Await().reason(), Reason::kDeadlineExceeded);
  EXPECT_EQ(decoder_.num_decoded(), 1);
}

TEST_F(DeliveryTest, AFailureOfTheEngineDropsTheMasksThatWait) {
  Start();
  gate_.Close();
  const auto sink = Begin(1);
  Objects(10, 16);
  gate_.AwaitVisitor();
  EndSequence(10, InternalError("broken"));
  // What follows in the queue is seen only once the end is there.
  const auto other = Begin(2);
  EndSequence(20);
  EXPECT_TRUE(other->Await().ok());
  gate_.Open();
  EXPECT_EQ(sink->Await().code(), StatusCode::kInternal);
  EXPECT_EQ(decoder_.num_decoded(), 1);
}

TEST_F(DeliveryTest, AUnaryAnswerWithTooManyMaskPixelsIsRefusedBeforeAnyIsRendered) {
  request_.streamed = false;
  Start(/*max_mask_pixels=*/3 * 2500);
  const auto sink = Begin(1);
  Objects(10, 4);  // 2,500 pixels each
  EndSequence(10);
  const Status status = sink->Await();
  EXPECT_EQ(status.reason(), Reason::kResponseTooLarge);
  EXPECT_EQ(decoder_.num_decoded(), 0);
}

TEST_F(DeliveryTest, AStreamWithTooManyMaskPixelsEndsBehindTheObjectsBefore) {
  Start(/*max_mask_pixels=*/3 * 2500);
  const auto sink = Begin(1);
  Objects(10, 4);
  AwaitCancelled(10);  // nobody wants what the model would still write
  EndSequence(10, CancelledStatus("decode"));
  EXPECT_EQ(sink->Await().reason(), Reason::kResponseTooLarge);
  EXPECT_THAT(sink->labels(), ElementsAre("a", "b", "c"));
  EXPECT_EQ(decoder_.num_decoded(), 3);
}

TEST_F(DeliveryTest, CodesAreFree) {
  request_.mask.encoding = MaskEncoding::kCodes;
  Start(/*max_mask_pixels=*/1);
  const auto sink = Begin(1);
  Objects(10, 4);
  EndSequence(10);
  EXPECT_TRUE(sink->Await().ok());
  EXPECT_THAT(sink->labels(), SizeIs(4));
  EXPECT_EQ(decoder_.num_decoded(), 0);
}

TEST_F(DeliveryTest, ItsEndEndsWhatIsLeft) {
  Start();
  const auto open = Begin(1), rendering = Begin(2);
  Objects(20, 2);
  EndSequence(20);
  delivery_.reset();
  EXPECT_EQ(open->Await().reason(), Reason::kServerDraining);
  EXPECT_TRUE(rendering->Await().ok()) << "the engine was done with it";
}

}  // namespace
}  // namespace paligemma
