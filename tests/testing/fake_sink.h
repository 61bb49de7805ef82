// SPDX-License-Identifier: Apache-2.0
// Records what a request got, and fails the test when it ends twice. Thread safe.
#ifndef TESTS_TESTING_FAKE_SINK_H_
#define TESTS_TESTING_FAKE_SINK_H_

#include <string>
#include <utility>

#include "core/base/mutex.h"
#include "core/request/request.h"
#include "gtest/gtest.h"

namespace paligemma {

class FakeSink final : public ResponseSink {
 public:
  void OnDelta(AnswerDelta delta) override PG_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(&mutex_);
    EXPECT_FALSE(done_) << "a delta after the end";
    streamed_ += delta.text;
  }

  void OnDone(Status status, Answer result) override PG_LOCKS_EXCLUDED(mutex_) {
    {
      MutexLock lock(&mutex_);
      EXPECT_FALSE(done_) << "a second end";
      done_ = true;
      status_ = std::move(status);
      result_ = std::move(result);
    }
    changed_.NotifyAll();
  }

  // Waits for the end.
  std::pair<Status, Answer> Await() PG_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(&mutex_);
    while (!done_) changed_.Wait(&mutex_);
    return {status_, result_};
  }

  bool done() const PG_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(&mutex_);
    return done_;
  }

  // All deltas together.
  std::string streamed() const PG_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(&mutex_);
    return streamed_;
  }

 private:
  mutable Mutex mutex_;
  CondVar changed_;
  bool done_ PG_GUARDED_BY(mutex_) = false;
  Status status_ PG_GUARDED_BY(mutex_);
  Answer result_ PG_GUARDED_BY(mutex_);
  std::string streamed_ PG_GUARDED_BY(mutex_);
};

}  // namespace paligemma

#endif  // TESTS_TESTING_FAKE_SINK_H_
