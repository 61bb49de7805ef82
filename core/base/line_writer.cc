// SPDX-License-Identifier: Apache-2.0
#include "core/base/line_writer.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace paligemma {
namespace {

// How often a thread that waits for a reader looks whether it is to stop.
constexpr int kPollMillis = 50;

// The lines to write at once. A pipe that poll() calls writable takes PIPE_BUF bytes without
// blocking and without mixing them with what other processes write.
std::string_view FirstPart(std::string_view lines) {
  if (lines.size() <= PIPE_BUF) return lines;
  const std::size_t end = lines.rfind('\n', PIPE_BUF - 1);
  return lines.substr(0, end == std::string_view::npos ? PIPE_BUF : end + 1);
}

}  // namespace

LineWriter::LineWriter(const Options& options)
    : options_(options),
      heartbeat_(options.heartbeats, "pg-log", {.essential = false, .ask = nullptr}),
      thread_([this] { Loop(); }) {}

LineWriter::~LineWriter() {
  Flush();
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  work_.NotifyOne();
  thread_.join();
}

void LineWriter::Write(std::string_view line) {
  {
    MutexLock lock(&mutex_);
    if (waiting_.size() + num_writing_ + line.size() > options_.max_bytes) {
      ++num_dropped_;
      return;
    }
    waiting_ += line;
    heartbeat_.Expect();
  }
  work_.NotifyOne();
}

bool LineWriter::Flush() {
  MutexLock lock(&mutex_);
  while (!waiting_.empty() || num_writing_ > 0) {
    const std::uint64_t before = num_writes_;
    const TimePoint until = std::chrono::steady_clock::now() + options_.patience;
    while (num_writes_ == before) {
      if (!progress_.WaitUntil(&mutex_, until) && num_writes_ == before) return false;
    }
  }
  return true;
}

std::int64_t LineWriter::num_dropped() const {
  MutexLock lock(&mutex_);
  return num_dropped_;
}

void LineWriter::Loop() {
  pthread_setname_np(pthread_self(), "pg-log");
  for (;;) {
    std::string lines;
    {
      MutexLock lock(&mutex_);
      if (waiting_.empty()) heartbeat_.Rest();
      while (waiting_.empty() && !stopping_) work_.Wait(&mutex_);
      if (stopping_) return;
      std::swap(lines, waiting_);
      num_writing_ = lines.size();
    }
    WriteAll(lines);
  }
}

void LineWriter::WriteAll(std::string_view lines) {
  while (!lines.empty() && WaitUntilWritable()) {
    const std::string_view part = FirstPart(lines);
    const ssize_t size = write(options_.fd, part.data(), part.size());
    if (size < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    // What the descriptor refuses, as a pipe without a reader does, is lost.
    const std::size_t done = size > 0 ? static_cast<std::size_t>(size) : part.size();
    Progress(done, size > 0 ? 0 : std::count(part.begin(), part.end(), '\n'));
    lines.remove_prefix(done);
  }
}

// Returns false when the thread is to stop before that.
bool LineWriter::WaitUntilWritable() {
  pollfd writable{options_.fd, POLLOUT, 0};
  while (poll(&writable, 1, kPollMillis) == 0) {
    MutexLock lock(&mutex_);
    if (stopping_) return false;
  }
  return true;
}

void LineWriter::Progress(std::size_t num_bytes, std::int64_t num_dropped) {
  heartbeat_.Beat();
  {
    MutexLock lock(&mutex_);
    num_writing_ -= num_bytes;
    num_dropped_ += num_dropped;
    ++num_writes_;
  }
  progress_.NotifyAll();
}

}  // namespace paligemma
