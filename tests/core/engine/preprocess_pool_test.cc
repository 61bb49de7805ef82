// SPDX-License-Identifier: Apache-2.0
#include "core/engine/preprocess_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <vector>

#include "tests/testing/fake_model_runner.h"

namespace paligemma {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

constexpr std::int64_t kLarge = 40'000'000, kSmall = 50'000;
constexpr RequestId kFirst = 1000;  // stops the thread that takes it

// Records the requests that the pool begins. A gate stands before requests from kFirst on.
class PreprocessPoolTest : public ::testing::Test {
 protected:
  ~PreprocessPoolTest() override { gate_.Open(); }

  void Start(const PreprocessPool::Options& options) {
    pool_ = std::make_unique<PreprocessPool>(options, [this](RequestId id) {
      {
        MutexLock lock(&mutex_);
        begun_.push_back(id);
      }
      changed_.NotifyAll();
      if (id >= kFirst) gate_.Pass();
    });
  }

  static PreprocessPool::Item ItemOf(RequestId id, std::int64_t pixels, Duration cost = {},
                                     Priority priority = Priority::kNormal) {
    PreprocessPool::Item item;
    item.id = id;
    item.pixels = pixels;
    item.decoded_bytes = pixels;
    item.cost = cost;
    item.priority = priority;
    item.arrival = TimePoint(seconds(id % kFirst));
    return item;
  }

  // Holds a thread in a request. Only large ones are held, so that the last thread stays free.
  void Hold(RequestId id, std::int64_t pixels) {
    gate_.Close();
    pool_->Push(ItemOf(id, pixels));
    gate_.AwaitVisitor();
  }

  std::vector<RequestId> AwaitBegun(std::size_t count) {
    MutexLock lock(&mutex_);
    while (begun_.size() < count) changed_.Wait(&mutex_);
    return begun_;
  }

  // Returns all that was begun, in its order, once everything is done.
  std::vector<RequestId> Finish() {
    gate_.Open();
    pool_.reset();
    MutexLock lock(&mutex_);
    return begun_;
  }

  Gate gate_;
  Mutex mutex_;
  CondVar changed_;
  std::vector<RequestId> begun_ PG_GUARDED_BY(mutex_);
  std::unique_ptr<PreprocessPool> pool_;
};

TEST_F(PreprocessPoolTest, ThePriorityDecidesFirstThenTheTimeOfArrival) {
  Start({.num_threads = 1});
  Hold(kFirst, kSmall);
  pool_->Push(ItemOf(1, kSmall, {}, Priority::kLow));
  pool_->Push(ItemOf(3, kSmall));
  pool_->Push(ItemOf(2, kSmall));
  pool_->Push(ItemOf(4, kSmall, {}, Priority::kHigh));
  EXPECT_THAT(Finish(), ElementsAre(kFirst, 4, 2, 3, 1));
}

TEST_F(PreprocessPoolTest, WhatIsCheapPassesWhatIsCostlyButNotForEver) {
  Start({.num_threads = 1});
  Hold(kFirst, kSmall);
  pool_->Push(ItemOf(1, kLarge, seconds(2)));
  pool_->Push(ItemOf(10, kSmall, Duration::zero()));
  pool_->Push(ItemOf(20, kSmall, Duration::zero()));
  EXPECT_THAT(Finish(), ElementsAre(kFirst, 10, 1, 20)) << "1 s + 8 * 2 s lies between them";
}

TEST_F(PreprocessPoolTest, TheLastThreadIsThereForWhatIsSmall) {
  Start({.num_threads = 2});
  Hold(kFirst, kLarge);
  pool_->Push(ItemOf(1, kLarge));
  pool_->Push(ItemOf(2, kSmall));
  EXPECT_THAT(AwaitBegun(2), ElementsAre(kFirst, 2)) << "though 1 came before it";
  EXPECT_THAT(Finish(), ElementsAre(kFirst, 2, 1));
}

TEST_F(PreprocessPoolTest, DecodedBytesAreBoundedUnlessARequestIsAlone) {
  Start({.num_threads = 3, .max_decoded_bytes = kLarge + kSmall});
  Hold(kFirst, kLarge);
  pool_->Push(ItemOf(1, kLarge));
  pool_->Push(ItemOf(2, kSmall));
  EXPECT_THAT(AwaitBegun(2), ElementsAre(kFirst, 2)) << "the second large one does not fit beside";
  pool_->Push(ItemOf(3, 2 * kLarge));
  EXPECT_THAT(Finish(), UnorderedElementsAre(kFirst, 1, 2, 3)) << "3 is prepared alone";
}

TEST_F(PreprocessPoolTest, WhatIsQueuedIsDoneBeforeTheEnd) {
  Start({.num_threads = 2});
  Hold(kFirst, kLarge);
  for (RequestId id = 1; id <= 20; ++id) pool_->Push(ItemOf(id, id % 2 == 0 ? kLarge : kSmall));
  EXPECT_EQ(Finish().size(), 21u);
}

}  // namespace
}  // namespace paligemma
