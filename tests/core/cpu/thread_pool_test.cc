// SPDX-License-Identifier: Apache-2.0
#include "core/cpu/thread_pool.h"

#include <gmock/gmock.h>

#include <condition_variable>
#include <mutex>

namespace paligemma::cpu {
namespace {

using ::testing::Each;

TEST(ThreadPoolTest, RunsEveryTileOnceForAnyNumberOfThreads) {
  for (const int num_threads : {1, 2, 3, 8}) {
    ThreadPool pool(num_threads);
    EXPECT_EQ(pool.num_threads(), num_threads);
    for (const int num_tiles : {0, 1, 2, 7, 1000}) {
      std::vector<int> calls(num_tiles, 0);
      pool.Run(num_tiles, [&](int tile) { ++calls[tile]; });
      EXPECT_THAT(calls, Each(1)) << num_threads << " threads";
    }
  }
}

// The second job may begin while a thread of the first one is still on its way.
TEST(ThreadPoolTest, JobsFollowEachOtherWithoutMixing) {
  ThreadPool pool(4);
  for (int job = 0; job < 2000; ++job) {
    const int num_tiles = 1 + job % 5;
    std::vector<int> results(num_tiles, -1);
    pool.Run(num_tiles, [&](int tile) { results[tile] = job; });
    ASSERT_THAT(results, Each(job));
  }
}

TEST(ThreadPoolTest, AHeldUpThreadKeepsOnlyItsOwnTile) {
  ThreadPool pool(2);
  constexpr int kTiles = 50;
  std::mutex mutex;
  std::condition_variable others_done;
  int num_others = 0;
  // Tile 0 ends only when all others have: with shares fixed in advance this would never end.
  pool.Run(kTiles, [&](int tile) {
    std::unique_lock<std::mutex> lock(mutex);
    if (tile == 0) {
      others_done.wait(lock, [&] { return num_others == kTiles - 1; });
    } else if (++num_others == kTiles - 1) {
      others_done.notify_one();
    }
  });
  EXPECT_EQ(num_others, kTiles - 1);
}

TEST(ThreadPoolTest, ThreadsThatFellAsleepWakeForTheNextJob) {
  ThreadPool pool(2);
  std::mutex mutex;
  std::condition_variable both;
  for (int job = 0; job < 20; ++job) {
    int num_inside = 0;
    // Each tile waits for the other, so both threads must be there.
    pool.Run(2, [&](int) {
      std::unique_lock<std::mutex> lock(mutex);
      ++num_inside;
      both.notify_all();
      both.wait(lock, [&] { return num_inside == 2; });
    });
    EXPECT_EQ(num_inside, 2);
  }
}

}  // namespace
}  // namespace paligemma::cpu
