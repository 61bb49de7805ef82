// SPDX-License-Identifier: Apache-2.0
// Many threads at once, few blocks: every request ends exactly once, right answers stay right, and
// nothing is held afterwards. Meant for ThreadSanitizer.
#include <atomic>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "core/engine/dispatcher.h"
#include "gtest/gtest.h"
#include "tests/testing/fake_model_runner.h"
#include "tests/testing/fake_pipeline.h"
#include "tests/testing/fake_sink.h"

namespace paligemma {
namespace {

constexpr int kThreads = 32;
constexpr int kRequestsEach = 25;

class CrowdTest : public ::testing::TestWithParam<int> {};

// One client: asks, sometimes cancels, sometimes with a deadline that is hard to meet.
void Client(Dispatcher* dispatcher, int seed, std::atomic<int>* right) {
  std::mt19937 random(static_cast<unsigned>(seed));
  for (int i = 0; i < kRequestsEach; ++i) {
    const std::string text = "client " + std::to_string(seed) + " asks " + std::to_string(i);
    const int max_tokens = 1 + static_cast<int>(random() % 20);
    Request request;
    request.text = text;
    request.images.resize(random() % 2);
    request.max_tokens = max_tokens;
    request.num_candidates = 1 + static_cast<int>(random() % 2);
    request.priority = static_cast<Priority>(random() % 3);
    const bool hurried = random() % 5 == 0;
    if (hurried) {
      request.deadline = std::chrono::steady_clock::now() + std::chrono::microseconds(300);
    }
    auto sink = std::make_shared<FakeSink>();
    StatusOr<RequestId> id = dispatcher->Submit(std::move(request), sink);
    if (!id.ok()) {
      EXPECT_TRUE(id.status().code() == StatusCode::kUnavailable ||
                  id.status().code() == StatusCode::kDeadlineExceeded)
          << id.status().ToString();
      continue;
    }
    const bool cancelled = random() % 4 == 0;
    if (cancelled) dispatcher->Cancel(*id);
    const auto [status, result] = sink->Await();
    if (!status.ok()) {
      const bool expected = (cancelled && status.code() == StatusCode::kCancelled) ||
                            (hurried && status.code() == StatusCode::kDeadlineExceeded);
      EXPECT_TRUE(expected) << status.ToString();
      continue;
    }
    const std::string answer = FakeText(FakeModelRunner::Alone(FakeTokens(text), max_tokens));
    for (const Candidate& candidate : result.candidates) EXPECT_EQ(candidate.text, answer);
    if (result.candidates.size() == 1) {
      EXPECT_EQ(sink->streamed(), answer);
    }
    ++*right;
  }
}

TEST_P(CrowdTest, EveryRequestEndsOnceWithTheRightAnswerOrTheRightCode) {
  DispatcherOptions options;
  options.admission.max_queued = 24;
  options.scheduler.max_running = 8;
  options.scheduler.max_batch_tokens = 128;
  options.scheduler.max_batch_delay = std::chrono::milliseconds(1);
  Dispatcher dispatcher(options);
  dispatcher.Start({std::make_unique<FakeModelRunner>(
                        FakeModelRunner::Options{.depth = GetParam(), .num_blocks = 40}),
                    std::make_unique<FakePreprocessor>(), FakeVocabulary(), nullptr});
  std::atomic<int> right{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < kThreads; ++i) {
    clients.emplace_back([&dispatcher, i, &right] { Client(&dispatcher, i, &right); });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_GT(right.load(), kThreads);
  EXPECT_TRUE(dispatcher.Drain(TimePoint::max()).ok());
  dispatcher.AwaitIdle();
  const DispatcherStats stats = dispatcher.Stats();
  EXPECT_EQ(stats.in_flight, 0);
  EXPECT_EQ(stats.engine.blocks_used, 0);
}

INSTANTIATE_TEST_SUITE_P(Depth, CrowdTest, ::testing::Values(1, 2));

}  // namespace
}  // namespace paligemma
