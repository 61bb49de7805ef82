// SPDX-License-Identifier: Apache-2.0
// Heartbeats tell a watchdog whether the threads that serve get on with their work.
//
// A thread that waits on a queue of ours tells about its work by itself: whoever adds work calls
// Expect(), the thread calls Beat() whenever it has done some and Rest() when it finds none, each
// under the mutex of that queue. A thread that waits inside a library is asked: the watchdog calls
// `ask`, which makes the library wake the thread up, and the thread answers with Rest().
//
//   Heartbeats heartbeats;
//   Heartbeat heartbeat(&heartbeats, "pg-delivery");
//   heartbeat.Expect();  // by the producer, after it has added work
//   heartbeat.Rest();    // by the thread, before it sleeps
//   heartbeats.Overdue(timeout);  // by the watchdog
#ifndef CORE_BASE_HEARTBEAT_H_
#define CORE_BASE_HEARTBEAT_H_

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/base/mutex.h"

namespace paligemma {

class Heartbeat;

// The heartbeats of one process. Thread safe; must outlive its heartbeats.
class Heartbeats {
 public:
  // `clock` must outlive the registry.
  explicit Heartbeats(const Clock* clock = Clock::Real()) : clock_(clock) {}
  Heartbeats(const Heartbeats&) = delete;
  Heartbeats& operator=(const Heartbeats&) = delete;

  // A thread that has work and has made no progress.
  struct Late {
    std::string name;
    Duration silence{};     // time without progress
    bool essential = true;  // calls cannot be answered without this thread
  };

  // Asks the resting threads that wait inside a library for a sign of life.
  void Ask() PG_LOCKS_EXCLUDED(mutex_);

  // Returns the threads that have had work for longer than `timeout` without progress.
  std::vector<Late> Overdue(Duration timeout) const PG_LOCKS_EXCLUDED(mutex_);

 private:
  friend class Heartbeat;

  const Clock* const clock_;
  mutable Mutex mutex_;
  std::vector<Heartbeat*> all_ PG_GUARDED_BY(mutex_);  // in the order of their construction
};

// The heartbeat of one thread, or of the queue that several threads share. Thread safe; Expect(),
// Beat() and Rest() take no lock.
class Heartbeat {
 public:
  struct Options {
    // False: the server can do without the thread. The watchdog then names it, and goes on.
    bool essential = true;
    // Makes the thread call Rest() soon. Called by Heartbeats::Ask(), after Expect(); must neither
    // block nor construct or destroy a heartbeat.
    std::function<void()> ask;
  };

  // `registry` may be null, for a thread that nobody watches. `name` is the thread's name.
  Heartbeat(Heartbeats* registry, std::string name) : Heartbeat(registry, std::move(name), {}) {}
  Heartbeat(Heartbeats* registry, std::string name, Options options);
  ~Heartbeat() { Withdraw(); }
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

  // Ends the watch for good. Once this returns, `ask` is not called any more. Takes a lock.
  void Withdraw();

  // Says that the thread has work. Starts the time unless it runs already.
  void Expect();
  // Says that the thread has made progress. Starts the time anew if it runs.
  void Beat();
  // Says that the thread has no work. Stops the time.
  void Rest() { since_.store(kResting, std::memory_order_relaxed); }

 private:
  friend class Heartbeats;
  static constexpr Duration::rep kResting = 0;

  Duration::rep Now() const { return registry_->clock_->Now().time_since_epoch().count(); }

  Heartbeats* const registry_;
  const std::string name_;
  const Options options_;
  std::atomic<Duration::rep> since_{kResting};  // the last progress, as the clock counts
};

}  // namespace paligemma

#endif  // CORE_BASE_HEARTBEAT_H_
