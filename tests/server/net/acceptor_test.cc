// SPDX-License-Identifier: Apache-2.0
#include "server/net/acceptor.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <deque>

#include "core/base/mutex.h"
#include "tests/server/net/client_socket.h"

namespace paligemma::net {
namespace {

// What an acceptor handed over, refused and logged. Thread safe.
class Seen {
 public:
  void Take(int fd) {
    MutexLock lock(&mutex_);
    taken_.emplace_back(fd);
    changed_.NotifyAll();
  }
  void Refuse(Refusal refusal) {
    MutexLock lock(&mutex_);
    refused_.push_back(refusal);
    changed_.NotifyAll();
  }
  void Warn(const std::string& text) {
    MutexLock lock(&mutex_);
    warnings_.push_back(text);
    changed_.NotifyAll();
  }

  // Waits for the `count`th connection that was handed over.
  Descriptor& Taken(std::size_t count) {
    MutexLock lock(&mutex_);
    AwaitSize(taken_, count);
    return taken_[count - 1];
  }
  std::vector<Refusal> Refused(std::size_t count) {
    MutexLock lock(&mutex_);
    AwaitSize(refused_, count);
    return refused_;
  }
  std::vector<std::string> Warnings(std::size_t count) {
    MutexLock lock(&mutex_);
    AwaitSize(warnings_, count);
    return warnings_;
  }

 private:
  template <typename Container>
  void AwaitSize(const Container& container, std::size_t size) PG_REQUIRES(mutex_) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (container.size() < size) {
      const bool in_time = changed_.WaitUntil(&mutex_, deadline);
      PG_CHECK(in_time || container.size() >= size) << "nothing came";
    }
  }

  Mutex mutex_;
  CondVar changed_;
  std::deque<Descriptor> taken_ PG_GUARDED_BY(mutex_);
  std::vector<Refusal> refused_ PG_GUARDED_BY(mutex_);
  std::vector<std::string> warnings_ PG_GUARDED_BY(mutex_);
};

class AcceptorTest : public ::testing::Test {
 protected:
  void Start(std::int64_t all, std::int64_t per_peer) {
    Acceptor::Options options;
    options.limits.all = all;
    options.limits.per_peer = per_peer;
    options.take = [this](int fd) { seen_.Take(fd); };
    options.on_refused = [this](Refusal refusal) { seen_.Refuse(refusal); };
    options.warn = [this](const std::string& text) { seen_.Warn(text); };
    options.heartbeats = &heartbeats_;
    auto listeners = Listen("127.0.0.1:0", std::chrono::seconds(20));
    PG_CHECK(listeners.ok());
    auto acceptor = Acceptor::Create(*std::move(listeners), std::move(options));
    PG_CHECK(acceptor.ok());
    acceptor_ = *std::move(acceptor);
    acceptor_->Start();
  }
  Descriptor NewClient() { return Connect(acceptor_->port()); }

  // Ends a connection as the RPC library does.
  static void End(Descriptor* connection) {
    ::shutdown(connection->get(), SHUT_RDWR);
    connection->Close();
  }
  void AwaitNumOpen(std::int64_t count) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (acceptor_->num_open() != count) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << acceptor_->num_open();
      std::this_thread::yield();
    }
  }

  Seen seen_;
  Heartbeats heartbeats_;
  std::unique_ptr<Acceptor> acceptor_;
};

TEST_F(AcceptorTest, HandsOverWhatComesAndCountsIt) {
  Start(10, 10);
  const Descriptor first = NewClient(), second = NewClient();
  seen_.Taken(2);
  EXPECT_EQ(acceptor_->num_open(), 2);
  const Descriptor& taken = seen_.Taken(1);
  EXPECT_EQ(::send(first.get(), "x", 1, 0), 1);
  pollfd waited{taken.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&waited, 1, 20'000), 1);
  EXPECT_NE(::fcntl(taken.get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_NE(::fcntl(taken.get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(AcceptorTest, ClosesAtOnceWhatAPeerMayNotHaveUntilTheServerEndsOne) {
  Start(10, 1);
  const Descriptor first = NewClient();
  Descriptor& taken = seen_.Taken(1);
  EXPECT_TRUE(AwaitClosed(NewClient()));
  EXPECT_EQ(seen_.Refused(1), std::vector{Refusal::kPeer});
  EXPECT_EQ(seen_.Warnings(1).front(),
            "closed a connection at once: 127.0.0.1 has 1, as many as --max-connections-per-peer "
            "allows");
  End(&taken);
  EXPECT_TRUE(AwaitClosed(first));
  AwaitNumOpen(0);
  const Descriptor second = NewClient();
  seen_.Taken(2);
}

TEST_F(AcceptorTest, ClosesAtOnceWhatIsTooManyInAllUntilAClientResetsIts) {
  Start(1, 5);
  Descriptor first = NewClient();
  seen_.Taken(1);
  EXPECT_TRUE(AwaitClosed(NewClient()));
  EXPECT_EQ(seen_.Refused(1), std::vector{Refusal::kAll});
  const linger at_once{1, 0};
  setsockopt(first.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  first.Close();
  AwaitNumOpen(0);
  const Descriptor second = NewClient();
  seen_.Taken(2);
}

TEST_F(AcceptorTest, OneLineTellsOfManyRefusals) {
  Start(10, 1);
  const Descriptor first = NewClient();
  seen_.Taken(1);
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(AwaitClosed(NewClient()));
  EXPECT_EQ(seen_.Refused(20).size(), 20u);
  EXPECT_EQ(seen_.Warnings(1).size(), 1u);
}

TEST_F(AcceptorTest, WithoutDescriptorsItClosesWhatComesAndAcceptsAgainAfterwards) {
  Start(10, 10);
  const Descriptor client = NewSocket(), later = NewSocket();
  std::vector<Descriptor> fillers;  // the last one lies above all that is free
  for (int i = 0; i < 200; ++i) fillers.emplace_back(::dup(client.get()));
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit full{static_cast<rlim_t>(fillers.back().get()) + 1, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &full), 0);
  EXPECT_TRUE(ConnectTo(acceptor_->port(), later));
  EXPECT_TRUE(AwaitClosed(later));
  EXPECT_EQ(seen_.Refused(1), std::vector{Refusal::kDescriptors});
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  const Descriptor again = NewClient();
  seen_.Taken(1);
  EXPECT_EQ(seen_.Refused(1).size(), 1u);
}

TEST_F(AcceptorTest, WithoutEvenTheReserveItWaitsAndThenAccepts) {
  Start(10, 10);
  const Descriptor client = NewSocket();
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit none{0, before.rlim_max};  // what is open stays open
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  EXPECT_TRUE(ConnectTo(acceptor_->port(), client));
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  const Descriptor again = NewClient();  // the first one is closed if the limit rose just in time
  seen_.Taken(1);
}

TEST_F(AcceptorTest, NothingIsHandedOverOnceItStoppedListening) {
  Start(10, 10);
  const Descriptor first = NewClient();
  seen_.Taken(1);
  acceptor_->StopListening();
  EXPECT_FALSE(NewClient().ok());
  EXPECT_EQ(acceptor_->num_open(), 1);
}

TEST_F(AcceptorTest, AnswersItsHeartbeat) {
  Start(10, 10);
  for (int i = 0; i < 3; ++i) {
    heartbeats_.Ask();
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!heartbeats_.Overdue(Duration(0)).empty()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline);
      std::this_thread::yield();
    }
  }
}

}  // namespace
}  // namespace paligemma::net
