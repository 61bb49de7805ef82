// SPDX-License-Identifier: Apache-2.0
#include "client/client.h"

#include <gmock/gmock.h>

#include <fstream>

#include "client/errors.h"
#include "client/map.h"
#include "tests/client/fake_server.h"

namespace paligemma::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

v1::CaptionRequest CaptionOf(const std::string& bytes) {
  v1::CaptionRequest request;
  request.add_images()->set_content(bytes);
  return request;
}

v1::TaskRequest CaptionTask() {
  v1::TaskRequest task;
  *task.mutable_caption() = CaptionOf("x");
  return task;
}

TEST(ClientTest, EachMethodGetsTheAnswerOfItsKind) {
  FakeServer server;
  server.on_task = [](grpc::ServerContext*, const v1::TaskRequest& task, v1::TaskResponse* answer) {
    switch (task.task_case()) {
      case v1::TaskRequest::kCaption:
        answer->mutable_caption()->set_caption("a cat");
        break;
      case v1::TaskRequest::kAnswer:
        answer->mutable_answer()->set_answer(task.answer().question());
        break;
      case v1::TaskRequest::kDetect:
        *answer->mutable_detect()->add_objects() = FoundObject("cat");
        break;
      case v1::TaskRequest::kSegment:
        *answer->mutable_segment()->add_objects() = FoundObject("dog");
        break;
      case v1::TaskRequest::kReadText:
        answer->mutable_read_text()->set_text("STOP");
        break;
      default:
        answer->mutable_generate()->add_candidates()->set_text(task.generate().prompt());
    }
    return grpc::Status::OK;
  };
  const auto client = server.Connect();
  v1::AnswerRequest question;
  question.set_question("why?");
  v1::GenerateRequest prompt;
  prompt.set_prompt("caption en");
  EXPECT_EQ(client->Call(CaptionOf("x"))->caption(), "a cat");
  EXPECT_EQ(client->Call(question)->answer(), "why?");
  EXPECT_EQ(client->Call(v1::DetectRequest())->objects(0).label(), "cat");
  EXPECT_EQ(client->Call(v1::SegmentRequest())->objects(0).label(), "dog");
  EXPECT_EQ(client->Call(v1::ReadTextRequest())->text(), "STOP");
  EXPECT_EQ(client->Call(prompt)->candidates(0).text(), "caption en");
  v1::TaskRequest task;
  *task.mutable_generate() = prompt;
  EXPECT_EQ(client->Call(task)->generate().candidates(0).text(), "caption en");
  EXPECT_FALSE(client->Call(v1::TaskRequest()).ok());
}

TEST(ClientTest, ErrorsCarryWhatTheServerSaid) {
  FakeServer server;
  server.on_task = [](grpc::ServerContext*, const v1::TaskRequest&, v1::TaskResponse*) {
    return RichError(grpc::StatusCode::INVALID_ARGUMENT, "IMAGE_CORRUPT",
                     {{"field", "images[0].content"}}, 1500);
  };
  const Status status = server.Connect()->Call(CaptionOf("x")).status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(ReasonOf(status), "IMAGE_CORRUPT");
  EXPECT_EQ(status.message(), "because of IMAGE_CORRUPT");
  EXPECT_THAT(status.metadata(), ElementsAre(std::pair("field", "images[0].content"),
                                             std::pair("request_id", "id-1")));
  EXPECT_EQ(status.retry_after(), std::chrono::milliseconds(1500));
}

TEST(ClientTest, WhatIsNoErrorOfOursIsStillOne) {
  EXPECT_TRUE(FromGrpcStatus(grpc::Status::OK, 0).ok());
  const Status foreign = FromGrpcStatus(grpc::Status(grpc::StatusCode::DATA_LOSS, "no such"), 0);
  EXPECT_EQ(foreign.code(), StatusCode::kInternal);
  EXPECT_THAT(foreign.message(), HasSubstr("15: no such"));
  const grpc::Status damaged(grpc::StatusCode::INTERNAL, "oops", "\xff\xff");
  EXPECT_EQ(ReasonOf(FromGrpcStatus(damaged, 0)), "");
}

TEST(ClientTest, NothingListensIsUnavailable) {
  ClientOptions options;
  options.server = "127.0.0.1:1";
  options.max_attempts = 1;
  const auto client = Client::Create(options);
  const Status status = (*client)->Call(CaptionOf("x")).status();
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(status), "");
}

// The first attempts fail; `pushback` is what the server asks for.
void FailAttempts(FakeServer* server, int count, const std::string& pushback) {
  server->on_task = [server, count, pushback](grpc::ServerContext* context, const v1::TaskRequest&,
                                              v1::TaskResponse* answer) {
    if (server->num_calls() > count) {
      answer->mutable_caption()->set_caption("later");
      return grpc::Status::OK;
    }
    if (!pushback.empty()) context->AddTrailingMetadata("grpc-retry-pushback-ms", pushback);
    return RichError(grpc::StatusCode::UNAVAILABLE, "SERVER_OVERLOADED");
  };
}

TEST(ClientTest, UnavailableIsRetriedAlsoWithAPictureBeyondTheUsualBuffer) {
  FakeServer server;
  FailAttempts(&server, 2, "1");
  const auto response = server.Connect()->Call(CaptionOf(std::string(3 << 20, 'x')));
  ASSERT_TRUE(response.ok()) << response.status().ToString();
  EXPECT_EQ(response->caption(), "later");
  EXPECT_EQ(server.num_calls(), 3);
}

TEST(ClientTest, WhatALeavingServerCancelsIsRetried) {
  FakeServer server;
  server.on_task = [&server](grpc::ServerContext*, const v1::TaskRequest&,
                             v1::TaskResponse* answer) {
    if (server.num_calls() == 1) return grpc::Status(grpc::StatusCode::CANCELLED, "CANCELLED");
    answer->mutable_caption()->set_caption("later");
    return grpc::Status::OK;
  };
  const auto response = server.Connect()->Call(CaptionOf("x"));
  ASSERT_TRUE(response.ok()) << response.status().ToString();
  EXPECT_EQ(server.num_calls(), 2);
}

TEST(ClientTest, ARequestAboveTheTransportsLimitNamesFieldValueAndLimit) {
  FakeServer server(100'000);
  const v1::CaptionRequest request = CaptionOf(std::string(200'000, 'x'));
  const std::string value = std::to_string(request.ByteSizeLong());
  const Status refused = server.Connect()->Call(request).status();
  EXPECT_EQ(refused.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(refused), "IMAGE_TOO_LARGE");
  EXPECT_EQ(refused.metadata(),
            (Status::Metadata{{"field", "images"}, {"value", value}, {"limit", "100000"}}));
  EXPECT_THAT(refused.message(), HasSubstr("the request has " + value + " bytes, limit 100000"));
}

TEST(ClientTest, AResponseAboveTheClientsLimitIsNotBlamedOnThePictures) {
  FakeServer server;
  server.on_task = [](grpc::ServerContext*, const v1::TaskRequest&, v1::TaskResponse* answer) {
    answer->mutable_caption()->set_caption(std::string(2000, 'a'));
    return grpc::Status::OK;
  };
  server.events = {CaptionResult(std::string(2000, 'a'))};
  ClientOptions options;
  options.max_response_bytes = 1000;
  const auto client = server.Connect(options);
  const auto ignore = [](const v1::StreamGenerateResponse&) { return true; };
  for (const Status& refused :
       {client->Call(CaptionOf("x")).status(), client->Stream(CaptionTask(), ignore).status()}) {
    EXPECT_EQ(ReasonOf(refused), "RESPONSE_TOO_LARGE");
    EXPECT_THAT(refused.message(), HasSubstr("limit 1000 of this client"));
    EXPECT_THAT(refused.message(), Not(HasSubstr("images")));
  }
}

TEST(ClientTest, RetriesEndWithTheLastAttempt) {
  FakeServer server;
  FailAttempts(&server, 100, "1");
  EXPECT_EQ(ReasonOf(server.Connect()->Call(CaptionOf("x")).status()), "SERVER_OVERLOADED");
  EXPECT_EQ(server.num_calls(), 4);
}

TEST(ClientTest, ANegativePushbackForbidsRetries) {
  FakeServer server;
  FailAttempts(&server, 1, "-1");
  EXPECT_FALSE(server.Connect()->Call(CaptionOf("x")).ok());
  EXPECT_EQ(server.num_calls(), 1);
}

TEST(ClientTest, ALongPushbackIsWaitedForRatherThanTheUsualBackoff) {
  FakeServer server;
  FailAttempts(&server, 1, "3600000");
  ClientOptions options;
  options.timeout = std::chrono::milliseconds(1000);  // the usual backoff is at most 200
  EXPECT_EQ(server.Connect(options)->Call(CaptionOf("x")).status().code(),
            StatusCode::kDeadlineExceeded);
  EXPECT_EQ(server.num_calls(), 1);
}

TEST(ClientTest, OneAttemptMeansNoRetry) {
  FakeServer server;
  FailAttempts(&server, 1, "1");
  ClientOptions options;
  options.max_attempts = 1;
  EXPECT_FALSE(server.Connect(options)->Call(CaptionOf("x")).ok());
  EXPECT_EQ(server.num_calls(), 1);
}

TEST(ClientTest, OtherCodesAreNotRetried) {
  FakeServer server;
  server.on_task = [](grpc::ServerContext*, const v1::TaskRequest&, v1::TaskResponse*) {
    return RichError(grpc::StatusCode::RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED", {}, 1);
  };
  EXPECT_FALSE(server.Connect()->Call(CaptionOf("x")).ok());
  EXPECT_EQ(server.num_calls(), 1);
}

TEST(ClientTest, TheDeadlineReachesTheServer) {
  FakeServer server;
  server.on_task = [](grpc::ServerContext* context, const v1::TaskRequest&, v1::TaskResponse*) {
    const bool soon =
        context->deadline() < std::chrono::system_clock::now() + std::chrono::minutes(10);
    return soon ? grpc::Status::OK : RichError(grpc::StatusCode::INTERNAL, "INTERNAL");
  };
  ClientOptions options;
  options.timeout = std::chrono::minutes(5);
  EXPECT_TRUE(server.Connect(options)->Call(CaptionOf("x")).ok());
  options.timeout = std::chrono::minutes(50);
  EXPECT_FALSE(server.Connect(options)->Call(CaptionOf("x")).ok());
}

TEST(ClientTest, TokenAndModelTravelAsMetadata) {
  FakeServer server;
  std::string authorization, model;
  server.on_task = [&](grpc::ServerContext* context, const v1::TaskRequest&, v1::TaskResponse*) {
    authorization = FakeServer::Metadata(context, "authorization");
    model = FakeServer::Metadata(context, "x-paligemma-model");
    return grpc::Status::OK;
  };
  ClientOptions options;
  options.token_file = ::testing::TempDir() + "/token";
  std::ofstream(options.token_file) << "secret\n";
  v1::CaptionRequest request = CaptionOf("x");
  request.set_model("models/m");
  ASSERT_TRUE(server.Connect(options)->Call(request).ok());
  EXPECT_EQ(authorization, "Bearer secret");
  EXPECT_EQ(model, "models/m");
  ASSERT_TRUE(server.Connect()->Call(CaptionOf("x")).ok());
  EXPECT_EQ(authorization + model, "");
}

TEST(ClientTest, ATokenNeverTravelsInClearTextOverANetwork) {
  ClientOptions options;
  options.server = "models.example:8001";
  options.token = "secret";
  EXPECT_THAT(Client::Create(options).status().message(), HasSubstr("clear text"));
  options.tls = true;
  EXPECT_TRUE(Client::Create(options).ok());
  options.token = "two\nlines";
  EXPECT_FALSE(Client::Create(options).ok());
}

TEST(ClientTest, FilesThatCannotBeReadAreNamed) {
  ClientOptions options;
  options.tls_ca = "no/such.pem";
  EXPECT_THAT(Client::Create(options).status().message(), HasSubstr("no/such.pem"));
  options = {};
  options.tls_cert = "cert.pem";
  EXPECT_THAT(Client::Create(options).status().message(), HasSubstr("go together"));
}

TEST(ClientTest, AStreamGivesItsEventsAndThenTheResult) {
  FakeServer server;
  server.events = {Delta("a "), v1::StreamGenerateResponse(), Delta("cat"), CaptionResult("a cat")};
  std::vector<std::string> texts;
  const auto result =
      server.Connect()->Stream(CaptionTask(), [&](const v1::StreamGenerateResponse& event) {
        texts.push_back(event.delta().text());
        return true;
      });
  ASSERT_TRUE(result.ok()) << result.status().ToString();
  EXPECT_THAT(texts, ElementsAre("a ", "cat"));
  EXPECT_EQ(result->caption().caption(), "a cat");
}

TEST(ClientTest, AStreamWithoutAResultFailedWhateverItsStatus) {
  FakeServer server;
  server.events = {Delta("a ")};
  const auto ignore = [](const v1::StreamGenerateResponse&) { return true; };
  EXPECT_THAT(server.Connect()->Stream(CaptionTask(), ignore).status().message(),
              HasSubstr("without a result"));
  server.stream_status = RichError(grpc::StatusCode::RESOURCE_EXHAUSTED, "SLOW_CONSUMER");
  EXPECT_EQ(ReasonOf(server.Connect()->Stream(CaptionTask(), ignore).status()), "SLOW_CONSUMER");
}

TEST(ClientTest, AHandlerThatWantsNoMoreCancelsTheStream) {
  FakeServer server;
  server.events.assign(100'000, Delta("more"));
  int num_events = 0;
  const auto result =
      server.Connect()->Stream(CaptionTask(), [&](const v1::StreamGenerateResponse&) {
        ++num_events;
        return false;
      });
  EXPECT_EQ(result.status().code(), StatusCode::kCancelled);
  EXPECT_EQ(num_events, 1);
}

TEST(ClientTest, ModelsOfAllPages) {
  FakeServer server;
  server.on_list = [](const v1::ListModelsRequest& request, v1::ListModelsResponse* response) {
    response->add_models()->set_name(request.page_token().empty() ? "models/a" : "models/b");
    if (request.page_token().empty()) response->set_next_page_token("next");
  };
  const auto models = server.Connect()->Models();
  ASSERT_TRUE(models.ok());
  ASSERT_EQ(models->size(), 2u);
  EXPECT_EQ((*models)[1].name(), "models/b");
}

TEST(MapTest, AsksEachOnceAndNoMoreAtATimeThanAllowed) {
  FakeServer server;
  server.on_task = [](grpc::ServerContext*, const v1::TaskRequest& task, v1::TaskResponse* answer) {
    answer->mutable_caption()->set_caption(task.caption().images(0).content());
    return grpc::Status::OK;
  };
  const auto client = server.Connect();
  std::vector<std::string> answers(50);
  MapTasks(
      50, 3,
      [&](int i) -> StatusOr<v1::TaskResponse> {
        if (i == 7) return Status(StatusCode::kNotFound, "no such picture");
        v1::TaskRequest task;
        *task.mutable_caption() = CaptionOf(std::to_string(i));
        return client->Call(task);
      },
      [&](int i, const StatusOr<v1::TaskResponse>& answer) {
        answers[static_cast<size_t>(i)] +=
            answer.ok() ? answer->caption().caption() : answer.status().message();
      });
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(answers[static_cast<size_t>(i)], i == 7 ? "no such picture" : std::to_string(i));
  }
  EXPECT_EQ(server.num_calls(), 49);
  EXPECT_LE(server.most_at_once(), 3);
}

TEST(MapTest, NothingToAskIsDoneAtOnce) {
  MapTasks(
      0, 3, [](int) -> StatusOr<v1::TaskResponse> { return v1::TaskResponse(); },
      [](int, const StatusOr<v1::TaskResponse>&) { FAIL(); });
}

}  // namespace
}  // namespace paligemma::client
