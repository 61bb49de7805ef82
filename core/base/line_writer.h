// SPDX-License-Identifier: Apache-2.0
// Writes lines of a log to a file descriptor on a thread of its own, so that a reader that is slow
// or gone never holds up the threads that log. Lines wait in a bounded queue; what does not fit is
// dropped and counted.
#ifndef CORE_BASE_LINE_WRITER_H_
#define CORE_BASE_LINE_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>

#include "core/base/duration.h"
#include "core/base/heartbeat.h"
#include "core/base/mutex.h"

namespace paligemma {

// Thread safe. Ignore SIGPIPE where the descriptor may be a pipe.
class LineWriter {
 public:
  struct Options {
    int fd = 2;
    std::size_t max_bytes = 2 << 20;  // of lines that wait
    // Flush() gives up when nothing could be written for this time.
    Millis patience{500};
    Heartbeats* heartbeats = nullptr;  // may be null; must outlive the writer
  };

  // Starts the thread. The descriptor stays the caller's.
  explicit LineWriter(const Options& options);
  // Flushes; lines that nobody reads are lost.
  ~LineWriter();
  LineWriter(const LineWriter&) = delete;
  LineWriter& operator=(const LineWriter&) = delete;

  // Takes a line over, or drops it when the queue is full. `line` ends with a newline. Never waits
  // for the descriptor.
  void Write(std::string_view line) PG_LOCKS_EXCLUDED(mutex_);

  // Waits until all lines have been written. Returns false when it gave up.
  bool Flush() PG_LOCKS_EXCLUDED(mutex_);

  // Lines that did not fit, or that the descriptor did not take.
  std::int64_t num_dropped() const PG_LOCKS_EXCLUDED(mutex_);

 private:
  void Loop() PG_LOCKS_EXCLUDED(mutex_);
  void WriteAll(std::string_view lines) PG_LOCKS_EXCLUDED(mutex_);
  bool WaitUntilWritable() PG_LOCKS_EXCLUDED(mutex_);
  void Progress(std::size_t num_bytes, std::int64_t num_dropped) PG_LOCKS_EXCLUDED(mutex_);

  const Options options_;
  Heartbeat heartbeat_;

  mutable Mutex mutex_;
  CondVar work_;      // of the thread
  CondVar progress_;  // of Flush()
  std::string waiting_ PG_GUARDED_BY(mutex_);
  std::size_t num_writing_ PG_GUARDED_BY(mutex_) = 0;  // bytes that the thread has taken
  std::uint64_t num_writes_ PG_GUARDED_BY(mutex_) = 0;
  std::int64_t num_dropped_ PG_GUARDED_BY(mutex_) = 0;
  bool stopping_ PG_GUARDED_BY(mutex_) = false;

  std::thread thread_;  // last: joined before what its loop uses is destroyed
};

}  // namespace paligemma

#endif  // CORE_BASE_LINE_WRITER_H_
