// SPDX-License-Identifier: Apache-2.0
// Unary calls: answers, refusals, cancels, deadlines, sizes.
#include <thread>

#include "tests/server/services/test_server.h"

namespace paligemma {
namespace {

using CallTest = ServerTest;

TEST_F(CallTest, AnAnswerCarriesTheRequestId) {
  BecomeReady();
  std::thread engine([this] {
    auto pending = backend_->Take();
    EXPECT_EQ(pending.request.id, "id-1");
    EXPECT_EQ(pending.request.text, "a prompt");
    EXPECT_LT(pending.request.deadline, Clock::Real()->Now() + std::chrono::seconds(21));
    pending.sink->OnDone(OkStatus(), TextResult("words"));
  });
  grpc::ClientContext context;
  SetDeadline(std::chrono::seconds(20), &context);
  context.AddMetadata("x-request-id", "id-1");
  v1::GenerateResponse response;
  const grpc::Status status = stub_->Generate(&context, GoodRequest(), &response);
  engine.join();
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.candidates(0).text(), "words");
  EXPECT_EQ(response.info().request_id(), "id-1");
  EXPECT_EQ(context.GetServerTrailingMetadata().find("x-request-id")->second, "id-1");
}

TEST_F(CallTest, TheTimingHoldsTheMakingOfTheResponse) {
  BecomeReady();
  std::thread engine([this] {
    Answer result = TextResult("words");
    result.timing.total = std::chrono::seconds(1);
    backend_->Take().sink->OnDone(OkStatus(), std::move(result));
  });
  grpc::ClientContext context;
  v1::GenerateResponse response;
  ASSERT_TRUE(stub_->Generate(&context, GoodRequest(), &response).ok());
  engine.join();
  EXPECT_GT(response.info().timing().postprocess_duration().nanos(), 0);
  EXPECT_GT(response.info().timing().total_duration().nanos(), 0) << "added to the second before";
}

TEST_F(CallTest, WhileLoadingCallsAreToldToComeBack) {
  grpc::ClientContext context;
  v1::GenerateResponse response;
  const grpc::Status status = stub_->Generate(&context, GoodRequest(), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOf(status), "MODEL_LOADING");
  EXPECT_EQ(context.GetServerTrailingMetadata().count("grpc-retry-pushback-ms"), 1u);
}

TEST_F(CallTest, OverloadComesWithPushback) {
  BecomeReady();
  backend_->Refuse(Status(StatusCode::kUnavailable, Reason::kServerOverloaded, "full")
                       .WithRetryAfter(std::chrono::milliseconds(700)));
  grpc::ClientContext context;
  v1::GenerateResponse response;
  const grpc::Status status = stub_->Generate(&context, GoodRequest(), &response);
  EXPECT_EQ(ReasonOf(status), "SERVER_OVERLOADED");
  EXPECT_EQ(context.GetServerTrailingMetadata().find("grpc-retry-pushback-ms")->second, "700");
}

TEST_F(CallTest, ABadRequestNeverReachesTheEngine) {
  BecomeReady();
  v1::GenerateRequest request = GoodRequest();
  request.mutable_generation_config()->set_top_p(2);
  grpc::ClientContext context;
  v1::GenerateResponse response;
  const grpc::Status status = stub_->Generate(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ReasonOf(status), "FIELD_INVALID");
}

TEST_F(CallTest, AModelThatContradictsItsMetadataIsRefused) {
  BecomeReady();
  grpc::ClientContext context;
  context.AddMetadata("x-paligemma-model", "models/other");
  v1::GenerateResponse response;
  EXPECT_EQ(ReasonOf(stub_->Generate(&context, GoodRequest(), &response)), "FIELD_INVALID");
}

TEST_F(CallTest, ACancelReachesTheEngine) {
  BecomeReady();
  grpc::ClientContext context;
  std::thread canceller([this, &context] {
    backend_->WaitForRequest();
    context.TryCancel();
  });
  v1::GenerateResponse response;
  const grpc::Status status = stub_->Generate(&context, GoodRequest(), &response);
  canceller.join();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED);
  backend_->WaitForCancel();
}

TEST_F(CallTest, ADeadlineEndsTheCallAndTheWork) {
  BecomeReady();
  grpc::ClientContext context;
  SetDeadline(std::chrono::milliseconds(100), &context);
  v1::GenerateResponse response;
  const grpc::Status status = stub_->Generate(&context, GoodRequest(), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  backend_->WaitForCancel();
}

TEST_F(CallTest, AResponseThatIsTooLargeIsRefused) {
  config_.max_response_bytes = 1000;
  BecomeReady();
  std::thread engine(
      [this] { backend_->Take().sink->OnDone(OkStatus(), TextResult(std::string(2000, 'x'))); });
  grpc::ClientContext context;
  v1::GenerateResponse response;
  const grpc::Status status = stub_->Generate(&context, GoodRequest(), &response);
  engine.join();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonOf(status), "RESPONSE_TOO_LARGE");
}

TEST_F(CallTest, ModelsAreListedWhileLoading) {
  const auto models = v1::ModelService::NewStub(channel_);
  grpc::ClientContext context;
  v1::ListModelsResponse response;
  ASSERT_TRUE(models->ListModels(&context, v1::ListModelsRequest(), &response).ok());
  ASSERT_EQ(response.models_size(), 1);
  EXPECT_EQ(response.models(0).name(), "models/test");
  EXPECT_EQ(response.models(0).state(), v1::MODEL_STATE_LOADING);
  grpc::ClientContext second;
  v1::GetModelRequest request;
  request.set_name("models/other");
  v1::GetModelResponse model;
  EXPECT_EQ(ReasonOf(models->GetModel(&second, request, &model)), "MODEL_NOT_FOUND");
}

TEST_F(CallTest, ThirtyTwoClientsGetTheirOwnAnswers) {
  BecomeReady();
  constexpr int kClients = 32;
  std::thread engine([this] {
    for (int i = 0; i < kClients; ++i) {
      auto pending = backend_->Take();
      pending.sink->OnDone(OkStatus(), TextResult(pending.request.text));
    }
  });
  std::vector<std::thread> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.emplace_back([this, i] {
      v1::GenerateRequest request = GoodRequest();
      request.set_prompt(std::to_string(i));
      grpc::ClientContext context;
      v1::GenerateResponse response;
      EXPECT_TRUE(stub_->Generate(&context, request, &response).ok());
      EXPECT_EQ(response.candidates(0).text(), std::to_string(i));
    });
  }
  for (std::thread& client : clients) client.join();
  engine.join();
}

TEST_F(CallTest, ASecondServerCannotTakeThePort) {
  ServerConfig config = config_;
  config.listen = "127.0.0.1:" + std::to_string(server_->port());
  ServiceDependencies dependencies = dependencies_;
  dependencies.config = &config;
  const auto second = GrpcServer::Start(dependencies);
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.status().message().find(config.listen), std::string::npos);
}

}  // namespace
}  // namespace paligemma
