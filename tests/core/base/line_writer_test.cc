// SPDX-License-Identifier: Apache-2.0
#include "core/base/line_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/testing/fake_clock.h"

namespace paligemma {
namespace {

constexpr std::size_t kMaxBytes = 64 << 10;

// A writer to a pipe that is read when the test says so.
class LineWriterTest : public ::testing::Test {
 protected:
  LineWriterTest() {
    signal(SIGPIPE, SIG_IGN);
    EXPECT_EQ(pipe(pipe_), 0);
    LineWriter::Options options;
    options.fd = pipe_[1];
    options.max_bytes = kMaxBytes;
    options.patience = Millis(20);
    options.heartbeats = &heartbeats_;
    writer_ = std::make_unique<LineWriter>(options);
  }
  ~LineWriterTest() override {
    writer_.reset();
    close(pipe_[0]);
    close(pipe_[1]);
  }

  static std::string Line(int number) { return "line " + std::to_string(number) + "\n"; }

  // Reads on a thread of its own until the pipe is closed at its other end.
  void StartReading() {
    reader_ = std::thread([this] {
      char buffer[4096];
      for (ssize_t size = 0; (size = read(pipe_[0], buffer, sizeof(buffer))) > 0;) {
        read_.append(buffer, static_cast<std::size_t>(size));
      }
    });
  }
  std::string FinishReading() {
    close(std::exchange(pipe_[1], -1));
    reader_.join();
    return read_;
  }
  // Nobody reads: the pipe takes nothing any more. Writes until a line is dropped; returns how many
  // lines were not.
  int Fill() {
    const int flags = fcntl(pipe_[1], F_GETFL);
    fcntl(pipe_[1], F_SETFL, flags | O_NONBLOCK);
    const std::string block(4096, 'x');
    while (write(pipe_[1], block.data(), block.size()) > 0) {
    }
    fcntl(pipe_[1], F_SETFL, flags);
    int num_lines = 0;
    while (writer_->num_dropped() == 0) writer_->Write(Line(num_lines++));
    return num_lines - 1;
  }

  FakeClock clock_;
  Heartbeats heartbeats_{&clock_};
  int pipe_[2] = {-1, -1};
  std::unique_ptr<LineWriter> writer_;
  std::thread reader_;
  std::string read_;
};

TEST_F(LineWriterTest, WritesEveryLineInOrder) {
  StartReading();
  std::string expected;
  for (int i = 0; i < 5000; ++i) {
    writer_->Write(Line(i));
    expected += Line(i);
    ASSERT_TRUE(i % 100 != 0 || writer_->Flush());
  }
  writer_.reset();
  EXPECT_TRUE(FinishReading() == expected);
}

TEST_F(LineWriterTest, ALongLineArrivesWhole) {
  StartReading();
  const std::string line = std::string(50'000, 'x') + "\n";
  writer_->Write("short\n");
  writer_->Write(line);
  writer_.reset();
  EXPECT_TRUE(FinishReading() == "short\n" + line);
}

TEST_F(LineWriterTest, WithoutAReaderLinesAreDroppedAndCountedAndNobodyWaits) {
  const int num_kept = Fill();
  EXPECT_GT(num_kept, 1000);
  writer_->Write("another\n");
  EXPECT_EQ(writer_->num_dropped(), 2);
  EXPECT_FALSE(writer_->Flush()) << "gives up";
}

TEST_F(LineWriterTest, WhatWaitedIsWrittenWhenTheReaderIsBack) {
  const int num_kept = Fill();
  StartReading();
  EXPECT_TRUE(writer_->Flush());
  writer_->Write("after\n");
  writer_.reset();
  const std::string text = FinishReading();
  EXPECT_TRUE(text.ends_with(Line(num_kept - 1) + "after\n"));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), num_kept + 1);
}

TEST_F(LineWriterTest, AReaderThatIsGoneCostsItsLinesAlone) {
  close(std::exchange(pipe_[0], -1));
  writer_->Write("one\n");
  EXPECT_TRUE(writer_->Flush());
  writer_->Write("two\nthree\n");
  EXPECT_TRUE(writer_->Flush());
  EXPECT_EQ(writer_->num_dropped(), 3);
}

TEST_F(LineWriterTest, TheWatchdogHearsOfAReaderThatDoesNotRead) {
  constexpr std::chrono::seconds kTimeout{60};
  writer_->Write("read\n");
  EXPECT_TRUE(writer_->Flush());
  Fill();
  clock_.Advance(kTimeout * 2);
  const std::vector<Heartbeats::Late> late = heartbeats_.Overdue(kTimeout);
  ASSERT_EQ(late.size(), 1u);
  EXPECT_EQ(late.front().name, "pg-log");
  EXPECT_FALSE(late.front().essential);
  StartReading();
  EXPECT_TRUE(writer_->Flush());
  EXPECT_TRUE(heartbeats_.Overdue(kTimeout).empty());
  writer_.reset();
  FinishReading();
}

TEST_F(LineWriterTest, ManyThreadsWriteWholeLines) {
  StartReading();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([this] {
      for (int i = 0; i < 500; ++i) writer_->Write("0123456789\n");
    });
  }
  for (std::thread& thread : threads) thread.join();
  writer_.reset();
  const std::string text = FinishReading();
  ASSERT_EQ(text.size(), 4u * 500 * 11);
  for (std::size_t i = 0; i < text.size(); i += 11) ASSERT_EQ(text.substr(i, 11), "0123456789\n");
}

}  // namespace
}  // namespace paligemma
