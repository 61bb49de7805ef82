// SPDX-License-Identifier: Apache-2.0
// Until when the engine may work on a call: the client's deadline, within the operator's bounds.
#include <thread>

#include "tests/server/services/test_server.h"

namespace paligemma {
namespace {

using std::chrono::seconds;

class DeadlineTest : public ServerTest {
 protected:
  void SetUp() override {
    config_.default_deadline = seconds(50);
    config_.max_deadline = seconds(200);
    BecomeReady();
  }

  // What is left of a call with this timeout (0: without one) when the engine gets it; whole
  // seconds, rounded up.
  std::int64_t SecondsLeft(seconds timeout) {
    std::int64_t left = 0;
    std::thread engine([this, &left] {
      FakeBackend::Pending pending = backend_->Take();
      const Duration rest = pending.request.deadline - pending.request.arrival;
      left = std::chrono::ceil<seconds>(rest).count();
      pending.sink->OnDone(OkStatus(), TextResult("x"));
    });
    grpc::ClientContext context;
    if (timeout.count() > 0) SetDeadline(timeout, &context);
    v1::GenerateResponse response;
    EXPECT_TRUE(stub_->Generate(&context, GoodRequest(), &response).ok());
    engine.join();
    return left;
  }
};

TEST_F(DeadlineTest, ACallWithoutOneGetsTheDefault) { EXPECT_EQ(SecondsLeft(seconds(0)), 50); }

TEST_F(DeadlineTest, ALaterOneIsShortenedToTheMaximum) {
  EXPECT_EQ(SecondsLeft(seconds(100'000)), 200);
}

TEST_F(DeadlineTest, AnEarlierOneIsKept) {
  const std::int64_t left = SecondsLeft(seconds(150));
  EXPECT_GT(left, 50);
  EXPECT_LT(left, 200);
}

}  // namespace
}  // namespace paligemma
