// SPDX-License-Identifier: Apache-2.0
#include "core/engine/admission.h"

#include <chrono>
#include <string>

#include "gtest/gtest.h"

namespace paligemma {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class AdmissionTest : public ::testing::Test {
 protected:
  // A prefill of 100 tokens takes a second, a decode step a tenth.
  void LearnSpeed() {
    StepStats prefill;
    prefill.prefill = true;
    prefill.num_rows = 1;
    prefill.num_tokens = 100;
    prefill.model = seconds(1);
    load_.OnStep(prefill);
    StepStats decode;
    decode.num_rows = decode.num_tokens = 1;
    decode.model = milliseconds(100);
    load_.OnStep(decode);
  }

  // A prompt of about this many tokens.
  static Request Ask(int tokens, Priority priority = Priority::kNormal) {
    Request request;
    request.text = std::string(4 * static_cast<std::size_t>(tokens - 1), 'x');
    request.priority = priority;
    return request;
  }

  // Books the request if it may wait.
  Status Join(Admission* book, const Request& request, std::int64_t pixels = 0) {
    const Admission::Share share = book->ShareOf(request, pixels);
    Status status = book->Check(request, share, now_, /*is_idle=*/book->num_queued() == 0);
    if (status.ok()) book->Enter(share);
    return status;
  }

  AdmissionOptions options_;
  LoadEstimator load_{nullptr};
  const TimePoint now_{std::chrono::hours(1)};
};

TEST_F(AdmissionTest, AShareCountsPromptsCandidatesAndPictures) {
  options_.tokens_per_image = 256;
  const Admission book(options_, &load_);
  Request request;
  request.images.resize(1);
  request.images[0].encoded = std::string(1000, 'x');
  request.labels = {"ab", "cd"};
  request.separate_labels = true;
  request.num_candidates = 3;
  const Admission::Share share = book.ShareOf(request, 0);
  EXPECT_EQ(share.prefix.tokens, 2 * 3 * (256 + 4 / 4 + 1));
  EXPECT_EQ(share.prefix.images, 1);
  EXPECT_EQ(share.bytes, 1004);
}

TEST_F(AdmissionTest, AFullQueueRefusesUntilSomebodyLeaves) {
  options_.max_queued = 1;
  Admission book(options_, &load_);
  const Request request = Ask(10);
  ASSERT_TRUE(Join(&book, request).ok());
  const Status status = Join(&book, request);
  EXPECT_EQ(status.reason(), Reason::kServerOverloaded);
  EXPECT_GT(status.retry_after().count(), 0);
  book.Leave(book.ShareOf(request, 0));
  EXPECT_EQ(book.num_queued(), 0);
  EXPECT_TRUE(Join(&book, request).ok());
}

TEST_F(AdmissionTest, AFloodRefusesLowRequestsFirstAndHighOnesLast) {
  options_.max_queued = 8;
  Admission book(options_, &load_);
  const auto fill = [&](Priority priority) {
    while (Join(&book, Ask(1, priority)).ok()) continue;
    return book.num_queued();
  };
  EXPECT_EQ(fill(Priority::kLow), 6);
  EXPECT_EQ(fill(Priority::kNormal), 8);
  EXPECT_EQ(fill(Priority::kHigh), 10);
  EXPECT_EQ(Join(&book, Ask(1, Priority::kHigh)).reason(), Reason::kServerOverloaded);
}

TEST_F(AdmissionTest, TokensAndBytesAreBoundedButForARequestThatWaitsAlone) {
  for (const bool tokens : {true, false}) {
    options_.max_queued_tokens = tokens ? 100 : 0;
    options_.max_queued_bytes = tokens ? 0 : 400;
    Admission book(options_, &load_);
    ASSERT_TRUE(Join(&book, Ask(500)).ok()) << "alone";
    EXPECT_EQ(Join(&book, Ask(1)).reason(), Reason::kServerOverloaded);
    book.Leave(book.ShareOf(Ask(500), 0));
    EXPECT_TRUE(Join(&book, Ask(50)).ok());
    EXPECT_TRUE(Join(&book, Ask(50)).ok());
    EXPECT_EQ(Join(&book, Ask(50)).reason(), Reason::kServerOverloaded);
  }
}

TEST_F(AdmissionTest, ADeadlineThatHasPassedIsTooLate) {
  const Admission book(options_, &load_);
  Request request = Ask(10);
  request.deadline = now_;
  const Status status = book.Check(request, book.ShareOf(request, 0), now_, /*is_idle=*/true);
  EXPECT_EQ(status.reason(), Reason::kDeadlineExceeded);
}

TEST_F(AdmissionTest, WhatIsTooSlowByItselfIsLateAndWhatTheQueueDelaysIsOverload) {
  LearnSpeed();
  Admission book(options_, &load_);
  Request request = Ask(200);  // two seconds
  request.deadline = now_ + seconds(1);
  const auto check = [&](bool is_idle) {
    return book.Check(request, book.ShareOf(request, 0), now_, is_idle);
  };
  EXPECT_TRUE(check(/*is_idle=*/true).ok()) << "an idle server tries";
  EXPECT_EQ(check(false).reason(), Reason::kDeadlineExceeded);
  request.deadline = now_ + seconds(3);
  EXPECT_TRUE(check(false).ok());
  ASSERT_TRUE(Join(&book, Ask(200)).ok());
  EXPECT_EQ(check(false).reason(), Reason::kServerOverloaded);
}

TEST_F(AdmissionTest, OnlyWhatGoesFirstCountsAsAhead) {
  LearnSpeed();
  Admission book(options_, &load_);
  ASSERT_TRUE(Join(&book, Ask(500, Priority::kLow)).ok());
  Request request = Ask(100);
  request.deadline = now_ + seconds(2);
  EXPECT_TRUE(Join(&book, request).ok());
  ASSERT_TRUE(Join(&book, Ask(500, Priority::kHigh)).ok());
  EXPECT_EQ(Join(&book, request).reason(), Reason::kServerOverloaded);
}

TEST_F(AdmissionTest, PicturesCountByTheirPixelsUntilTheyAreDecoded) {
  constexpr std::int64_t kPixels = 40'000'000;
  load_.OnPrepared(kPixels, seconds(2));
  options_.num_decoders = 2;
  Admission book(options_, &load_);
  Request request = Ask(1);
  request.deadline = now_ + seconds(1);
  EXPECT_EQ(book.Check(request, book.ShareOf(request, kPixels), now_, false).reason(),
            Reason::kDeadlineExceeded)
      << "its own picture takes two seconds";
  request.deadline = now_ + seconds(4);
  Admission::Share ahead[3];
  for (Admission::Share& share : ahead) {
    share = book.ShareOf(Ask(1), kPixels);
    book.Enter(share);
  }
  EXPECT_EQ(book.Check(request, book.ShareOf(request, kPixels), now_, false).reason(),
            Reason::kServerOverloaded)
      << "two threads need three seconds for what is ahead";
  EXPECT_TRUE(book.Check(request, book.ShareOf(request, 50'000), now_, false).ok())
      << "a small picture does not wait for large ones";
  book.Decoded(&ahead[0]);
  EXPECT_TRUE(book.Check(request, book.ShareOf(request, kPixels), now_, false).ok());
  for (const Admission::Share& share : ahead) book.Leave(share);
  EXPECT_EQ(book.num_queued(), 0);
}

TEST_F(AdmissionTest, TokensThatMustComeCountUnlessATimeBudgetCutsThem) {
  LearnSpeed();
  const Admission book(options_, &load_);
  Request request = Ask(10);
  request.sampling.min_tokens = 51;  // five seconds
  request.deadline = now_ + seconds(2);
  EXPECT_EQ(book.Check(request, book.ShareOf(request, 0), now_, false).reason(),
            Reason::kDeadlineExceeded);
  request.time_budget = now_ + seconds(1);
  EXPECT_TRUE(book.Check(request, book.ShareOf(request, 0), now_, false).ok());
}

}  // namespace
}  // namespace paligemma
