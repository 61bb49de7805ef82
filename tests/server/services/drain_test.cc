// SPDX-License-Identifier: Apache-2.0
#include <thread>

#include "client/health.h"
#include "tests/server/services/test_server.h"

namespace paligemma {
namespace {

class DrainTest : public ServerTest {
 protected:
  bool Healthy(const std::string& service) {
    const auto healthy = client::CheckHealth(channel_, service, std::chrono::seconds(20));
    PG_CHECK(healthy.ok()) << healthy.status().ToString();
    return *healthy;
  }
};

TEST_F(DrainTest, HealthFollowsThePhase) {
  for (const char* service : {"", "paligemma.v1.PaliGemmaService", "readiness"}) {
    EXPECT_FALSE(Healthy(service)) << service;
  }
  EXPECT_TRUE(Healthy("liveness"));
  BecomeReady();
  for (const char* service : {"", "paligemma.v1.PaliGemmaService", "readiness", "liveness"}) {
    EXPECT_TRUE(Healthy(service)) << service;
  }
  SetPhase(Phase::kLeaving);
  EXPECT_FALSE(Healthy("readiness"));
  EXPECT_TRUE(Healthy("liveness"));
  SetStalled(true);
  EXPECT_FALSE(Healthy("liveness"));
}

TEST_F(DrainTest, LeavingStillAcceptsAndDrainingRefuses) {
  BecomeReady();
  SetPhase(Phase::kLeaving);
  std::thread engine([this] { backend_->Take().sink->OnDone(OkStatus(), TextResult("x")); });
  grpc::ClientContext first, second;
  v1::GenerateResponse response;
  EXPECT_TRUE(stub_->Generate(&first, GoodRequest(), &response).ok());
  engine.join();
  SetPhase(Phase::kDraining);
  const grpc::Status status = stub_->Generate(&second, GoodRequest(), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOf(status), "SERVER_DRAINING");
}

TEST_F(DrainTest, CallsInFlightFinish) {
  BecomeReady();
  grpc::Status status(grpc::StatusCode::UNKNOWN, "");
  std::thread client([this, &status] {
    grpc::ClientContext context;
    v1::GenerateResponse response;
    status = stub_->Generate(&context, GoodRequest(), &response);
  });
  auto pending = backend_->Take();
  std::thread engine([&pending] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    pending.sink->OnDone(OkStatus(), TextResult("x"));
    pending.sink.reset();
  });
  EXPECT_TRUE(server_->Shutdown(std::chrono::seconds(20)));
  client.join();
  engine.join();
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(DrainTest, CallsThatTakeTooLongAreCancelled) {
  BecomeReady();
  grpc::Status status;
  std::thread client([this, &status] {
    grpc::ClientContext context;
    v1::GenerateResponse response;
    status = stub_->Generate(&context, GoodRequest(), &response);
  });
  backend_->WaitForRequest();
  EXPECT_FALSE(server_->Shutdown(std::chrono::milliseconds(50)));
  client.join();
  EXPECT_FALSE(status.ok());
  backend_->WaitForCancel();
}

TEST_F(DrainTest, ACallThatTheEngineHoldsOnToDoesNotHoldTheShutdown) {
  BecomeReady();
  std::thread client([this] {
    grpc::ClientContext context;
    v1::GenerateResponse response;
    EXPECT_FALSE(stub_->Generate(&context, GoodRequest(), &response).ok());
  });
  auto pending = backend_->Take();  // a cancel does not reach it any more
  const auto began = std::chrono::steady_clock::now();
  EXPECT_FALSE(server_->Shutdown(std::chrono::milliseconds(50)));
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(5));
  pending.sink->OnDone(CancelledStatus("decode"), Answer());
  pending.sink.reset();
  client.join();
}

}  // namespace
}  // namespace paligemma
