// SPDX-License-Identifier: Apache-2.0
// Every reason of the API leaves the server with its code, its metadata and its details, unary and
// streamed; and what is wrong with a call before it is a request has one of them too.
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <optional>
#include <set>
#include <thread>

#include "client/health.h"
#include "core/request/endings.h"
#include "paligemma/v1/error_reason.pb.h"
#include "server/api/status_mapping.h"
#include "tests/server/services/test_server.h"

namespace paligemma {
namespace {

using ::testing::HasSubstr;

enum class Retry { kNo, kDelay, kElsewhere };

struct Row {
  v1::ErrorReason reason;
  grpc::StatusCode code;
  std::vector<std::string> metadata;  // the keys that error_reason.proto promises
  Retry retry;
  // Either a request that the server refuses by itself, or what the engine says.
  std::function<void(v1::GenerateRequest*)> spoil;
  Status from_engine;
};

Status Engine(StatusCode code, Reason reason, Status::Metadata metadata = {}) {
  return Status(code, reason, "as the engine says it", std::move(metadata));
}

Status WithDelay(Status status) {
  return std::move(status).WithRetryAfter(std::chrono::milliseconds(250));
}

const std::vector<Row>& Rows() {
  using C = grpc::StatusCode;
  using S = StatusCode;
  const auto config = [](auto change) {
    return [change](v1::GenerateRequest* r) { change(r->mutable_generation_config()); };
  };
  static const auto* const rows = new std::vector<Row>{
      {v1::ERROR_REASON_FIELD_INVALID,
       C::INVALID_ARGUMENT,
       {"field", "value", "limit"},
       Retry::kNo,
       config([](auto* c) { c->set_top_p(2); }),
       {}},
      {v1::ERROR_REASON_IMAGE_MISSING,
       C::INVALID_ARGUMENT,
       {"field"},
       Retry::kNo,
       [](v1::GenerateRequest* r) { r->clear_images(); },
       {}},
      {v1::ERROR_REASON_IMAGE_FORMAT_UNSUPPORTED,
       C::INVALID_ARGUMENT,
       {"field", "accepted"},
       Retry::kNo,
       nullptr,
       Engine(S::kInvalidArgument, Reason::kImageFormatUnsupported,
              {{"field", "images[0].content"}, {"accepted", "image/png"}})},
      {v1::ERROR_REASON_IMAGE_CORRUPT,
       C::INVALID_ARGUMENT,
       {"field"},
       Retry::kNo,
       nullptr,
       Engine(S::kInvalidArgument, Reason::kImageCorrupt, {{"field", "images[0].content"}})},
      {v1::ERROR_REASON_IMAGE_TOO_LARGE,
       C::INVALID_ARGUMENT,
       {"field", "value", "limit"},
       Retry::kNo,
       [](v1::GenerateRequest* r) {
         r->mutable_images(0)->set_content(std::string(17 << 20, 'x'));
       },
       {}},
      {v1::ERROR_REASON_IMAGE_TOO_COMPLEX,
       C::INVALID_ARGUMENT,
       {"field", "limit"},
       Retry::kNo,
       nullptr,
       Engine(S::kInvalidArgument, Reason::kImageTooComplex,
              {{"field", "images[0].content"}, {"limit", "32"}})},
      {v1::ERROR_REASON_PROMPT_TOO_LONG,
       C::INVALID_ARGUMENT,
       {"value", "limit"},
       Retry::kNo,
       [](v1::GenerateRequest* r) { r->set_prompt(std::string(1 << 20, 'x')); },
       {}},
      {v1::ERROR_REASON_LANGUAGE_UNSUPPORTED,
       C::INVALID_ARGUMENT,
       {"value", "supported"},
       Retry::kNo,
       nullptr,
       Engine(S::kInvalidArgument, Reason::kLanguageUnsupported,
              {{"field", "language_code"}, {"value", "xx"}, {"supported", "en"}})},
      {v1::ERROR_REASON_METHOD_UNSUPPORTED,
       C::FAILED_PRECONDITION,
       {"method", "supported"},
       Retry::kNo,
       nullptr,
       Engine(S::kFailedPrecondition, Reason::kMethodUnsupported,
              {{"method", "Segment"}, {"supported", "Caption"}})},
      {v1::ERROR_REASON_MODEL_NOT_FOUND,
       C::NOT_FOUND,
       {"model"},
       Retry::kNo,
       [](v1::GenerateRequest* r) { r->set_model("models/other"); },
       {}},
      {v1::ERROR_REASON_SERVER_OVERLOADED,
       C::UNAVAILABLE,
       {"retry_after_ms"},
       Retry::kDelay,
       nullptr,
       WithDelay(Engine(S::kUnavailable, Reason::kServerOverloaded))},
      {v1::ERROR_REASON_SERVER_DRAINING,
       C::UNAVAILABLE,
       {},
       Retry::kElsewhere,
       nullptr,
       DrainingStatus()},
      {v1::ERROR_REASON_MODEL_LOADING, C::UNAVAILABLE, {}, Retry::kDelay, nullptr, LoadingStatus()},
      {v1::ERROR_REASON_DEVICE_OUT_OF_MEMORY,
       C::UNAVAILABLE,
       {},
       Retry::kDelay,
       nullptr,
       WithDelay(Engine(S::kUnavailable, Reason::kDeviceOutOfMemory))},
      {v1::ERROR_REASON_QUOTA_EXCEEDED,
       C::RESOURCE_EXHAUSTED,
       {"tenant", "limit"},
       Retry::kDelay,
       nullptr,
       WithDelay(Engine(S::kResourceExhausted, Reason::kQuotaExceeded,
                        {{"tenant", "a"}, {"limit", "2"}}))},
      {v1::ERROR_REASON_SLOW_CONSUMER,
       C::RESOURCE_EXHAUSTED,
       {"limit"},
       Retry::kNo,
       nullptr,
       Engine(S::kResourceExhausted, Reason::kSlowConsumer, {{"limit", "1048576"}})},
      {v1::ERROR_REASON_RESPONSE_TOO_LARGE,
       C::RESOURCE_EXHAUSTED,
       {"value", "limit", "advice"},
       Retry::kNo,
       nullptr,
       Engine(S::kResourceExhausted, Reason::kResponseTooLarge,
              {{"value", "2"}, {"limit", "1"}, {"advice", "ask for less"}})},
      {v1::ERROR_REASON_DEADLINE_EXCEEDED,
       C::DEADLINE_EXCEEDED,
       {"phase"},
       Retry::kNo,
       nullptr,
       DeadlineStatus("decode")},
      {v1::ERROR_REASON_CANCELLED,
       C::CANCELLED,
       {"phase"},
       Retry::kNo,
       nullptr,
       CancelledStatus("decode")},
      {v1::ERROR_REASON_CREDENTIALS_INVALID,
       C::UNAUTHENTICATED,
       {},
       Retry::kNo,
       nullptr,
       Engine(S::kUnauthenticated, Reason::kCredentialsInvalid)},
      {v1::ERROR_REASON_PERMISSION_DENIED,
       C::PERMISSION_DENIED,
       {"permission"},
       Retry::kNo,
       nullptr,
       Engine(S::kPermissionDenied, Reason::kPermissionDenied, {{"permission", "models"}})},
      {v1::ERROR_REASON_NUMERIC_FAULT,
       C::INTERNAL,
       {},
       Retry::kNo,
       nullptr,
       Engine(S::kInternal, Reason::kNumericFault)},
      {v1::ERROR_REASON_INTERNAL,
       C::INTERNAL,
       {},
       Retry::kNo,
       nullptr,
       Status(S::kNotFound, "an error without a reason")},
  };
  return *rows;
}

class ReasonsTest : public ServerTest {
 protected:
  ReasonsTest() { BecomeReady(); }

  // Asks as the row says, once unary and once streamed.
  grpc::Status Ask(const Row& row, bool streamed, grpc::ClientContext* context) {
    v1::GenerateRequest request = GoodRequest();
    if (row.spoil) row.spoil(&request);
    std::thread engine([this, &row] {
      if (!row.spoil) backend_->Take().sink->OnDone(row.from_engine, Answer());
    });
    grpc::Status status;
    if (streamed) {
      v1::StreamGenerateRequest stream;
      *stream.mutable_task()->mutable_generate() = request;
      const auto reader = stub_->StreamGenerate(context, stream);
      v1::StreamGenerateResponse message;
      EXPECT_FALSE(reader->Read(&message));
      status = reader->Finish();
    } else {
      v1::GenerateResponse response;
      status = stub_->Generate(context, request, &response);
    }
    engine.join();
    return status;
  }

  // Sends bytes as a request of a method.
  grpc::Status SendBytes(const std::string& method, const std::string& bytes) {
    grpc::GenericStub stub(channel_);
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const grpc::Slice slice(bytes);
    const auto call = stub.PrepareUnaryCall(&context, method, grpc::ByteBuffer(&slice, 1), &queue);
    call->StartCall();
    grpc::ByteBuffer response;
    grpc::Status status;
    call->Finish(&response, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    return status;
  }
};

std::optional<std::string> Pushback(const grpc::ClientContext& context) {
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto found = trailers.find(kPushbackKey);
  if (found == trailers.end()) return std::nullopt;
  return std::string(found->second.data(), found->second.size());
}

TEST_F(ReasonsTest, TheTableHasEveryReason) {
  std::set<int> seen;
  for (const Row& row : Rows()) EXPECT_TRUE(seen.insert(row.reason).second) << row.reason;
  for (int i = v1::ErrorReason_MIN + 1; i <= v1::ErrorReason_MAX; ++i) {
    EXPECT_EQ(seen.count(i), v1::ErrorReason_IsValid(i) ? 1u : 0u) << i;
  }
}

TEST_F(ReasonsTest, EachLeavesWithItsCodeMetadataAndDetails) {
  for (const Row& row : Rows()) {
    for (const bool streamed : {false, true}) {
      SCOPED_TRACE(v1::ErrorReason_Name(row.reason) + (streamed ? ", streamed" : ""));
      grpc::ClientContext context;
      const grpc::Status status = Ask(row, streamed, &context);
      EXPECT_EQ(status.error_code(), row.code) << status.error_message();
      const google::rpc::ErrorInfo info = InfoOfError(status);
      EXPECT_EQ("ERROR_REASON_" + info.reason(), v1::ErrorReason_Name(row.reason));
      EXPECT_EQ(info.domain(), kErrorDomain);
      for (const std::string& key : row.metadata) EXPECT_EQ(info.metadata().count(key), 1u) << key;
      EXPECT_FALSE(DetailOf<google::rpc::RequestInfo>(status).request_id().empty());
      const auto bad = DetailOf<google::rpc::BadRequest>(status);
      const auto field = info.metadata().find("field");
      ASSERT_EQ(bad.field_violations_size(), field != info.metadata().end() ? 1 : 0);
      for (const auto& violation : bad.field_violations()) {
        EXPECT_EQ(violation.field(), field->second);
      }
      const auto retry = DetailOf<google::rpc::RetryInfo>(status);
      EXPECT_EQ(retry.has_retry_delay(), row.retry != Retry::kNo);
      EXPECT_EQ(Pushback(context).has_value(), row.retry != Retry::kNo);
      EXPECT_EQ(retry.retry_delay().seconds() * 1'000'000'000 + retry.retry_delay().nanos() > 0,
                row.retry == Retry::kDelay);
    }
  }
}

TEST_F(ReasonsTest, BytesThatAreNoMessageAreABadRequest) {
  for (const char* method : {"Caption", "Answer", "Detect", "Segment", "ReadText", "Generate"}) {
    const grpc::Status status =
        SendBytes(std::string("/paligemma.v1.PaliGemmaService/") + method, "\xFF\xFF\xFF");
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << method;
    EXPECT_EQ(ReasonOf(status), "FIELD_INVALID") << method;
    EXPECT_THAT(InfoOfError(status).metadata().at("field"), HasSubstr(method));
  }
  const grpc::Status models = SendBytes("/paligemma.v1.ModelService/GetModel", "\x0A\x7F");
  EXPECT_EQ(ReasonOf(models), "FIELD_INVALID");
}

TEST_F(ReasonsTest, TextThatIsNotUtf8IsABadFieldWithItsName) {
  // Field 3 is the prompt.
  const grpc::Status status = SendBytes("/paligemma.v1.PaliGemmaService/Generate",
                                        "\x1A\x04"
                                        "ab\xC3\x28");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(InfoOfError(status).metadata().at("field"), "prompt");
  EXPECT_EQ(DetailOf<google::rpc::BadRequest>(status).field_violations(0).field(), "prompt");
}

TEST_F(ReasonsTest, AnUnknownMethodIsToldWhatThereIs) {
  for (const char* method :
       {"/paligemma.v1.PaliGemmaService/Draw", "/paligemma.v2.Other/Caption"}) {
    const grpc::Status status = SendBytes(method, "");
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
    EXPECT_EQ(ReasonOf(status), "METHOD_UNSUPPORTED");
    EXPECT_EQ(InfoOfError(status).metadata().at("method"), method);
    EXPECT_THAT(status.error_message(), HasSubstr("paligemma.v1.PaliGemmaService"));
  }
}

TEST_F(ReasonsTest, ReflectionCanBeTurnedOff) {
  const std::string reflection = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
  EXPECT_NE(SendBytes(reflection, "").error_code(), grpc::StatusCode::UNIMPLEMENTED);
  config_.reflection = false;
  const auto server = GrpcServer::Start(dependencies_);
  ASSERT_TRUE(server.ok());
  channel_ = grpc::CreateChannel("127.0.0.1:" + std::to_string((*server)->port()),
                                 grpc::InsecureChannelCredentials());
  EXPECT_EQ(SendBytes(reflection, "").error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(ReasonsTest, ASizeErrorIsOursUpToTwiceTheImages) {
  v1::GenerateRequest request = GoodRequest();
  request.mutable_images(0)->set_content(
      std::string(static_cast<size_t>(2 * config_.host.image_limits.max_bytes), 'x'));
  grpc::ClientContext context;
  v1::GenerateResponse response;
  const grpc::Status status = stub_->Generate(&context, request, &response);
  EXPECT_EQ(ReasonOf(status), "IMAGE_TOO_LARGE");
  EXPECT_EQ(InfoOfError(status).metadata().at("field"), "images[0].content");
}

// A server whose tokens are "all", which may do everything, once at a time, and "models".
class CredentialsTest : public ServerTest {
 protected:
  CredentialsTest() {
    std::ofstream(path_)
        << "sha256:5ef5ef0364b6939c4ca61f34b393f7b368d1be8619647aaf83d5b395919ab629 a max-calls=1\n"
        << "sha256:8edcc26c0f6c7256a71a8ede6b954ad9ec8dabf88f127c5e9d34f13cadefe11a b models\n";
    auto tokens = AuthTokens::Load(path_);
    PG_CHECK(tokens.ok()) << tokens.status().ToString();
    tokens_ = *std::move(tokens);
    dependencies_.tokens = tokens_.get();
    BecomeReady();
  }
  ~CredentialsTest() override { std::remove(path_.c_str()); }

  static void ShowToken(const std::string& token, grpc::ClientContext* context) {
    if (!token.empty()) context->AddMetadata("authorization", "Bearer " + token);
  }
  grpc::Status Generate(const std::string& token) {
    grpc::ClientContext context;
    ShowToken(token, &context);
    v1::GenerateResponse response;
    return stub_->Generate(&context, GoodRequest(), &response);
  }
  grpc::Status ListModels(const std::string& token) {
    grpc::ClientContext context;
    ShowToken(token, &context);
    v1::ListModelsResponse response;
    return v1::ModelService::NewStub(channel_)->ListModels(&context, {}, &response);
  }

  const std::string path_ = testing::TempDir() + "credentials_test." + std::to_string(getpid());
  std::unique_ptr<AuthTokens> tokens_;
};

TEST_F(CredentialsTest, EachServiceAsksForItsRight) {
  for (const char* wrong : {"", "other"}) {
    EXPECT_EQ(Generate(wrong).error_code(), grpc::StatusCode::UNAUTHENTICATED);
    EXPECT_EQ(ReasonOf(Generate(wrong)), "CREDENTIALS_INVALID");
    EXPECT_EQ(ReasonOf(ListModels(wrong)), "CREDENTIALS_INVALID");
  }
  EXPECT_EQ(Generate("models").error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(InfoOfError(Generate("models")).metadata().at("permission"), "generate");
  EXPECT_TRUE(ListModels("models").ok());
  std::thread engine([this] { backend_->Take().sink->OnDone(OkStatus(), TextResult("x")); });
  EXPECT_TRUE(Generate("all").ok());
  engine.join();
}

TEST_F(CredentialsTest, ProbesAskForNone) {
  const auto healthy = client::CheckHealth(channel_, "readiness", std::chrono::seconds(20));
  ASSERT_TRUE(healthy.ok()) << healthy.status().ToString();
  EXPECT_TRUE(*healthy);
}

TEST_F(CredentialsTest, ATenantsPlaceIsFreeOnceItsCallEnded) {
  std::thread first([this] { EXPECT_TRUE(Generate("all").ok()); });
  backend_->WaitForRequest();
  const grpc::Status refused = Generate("all");
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonOf(refused), "QUOTA_EXCEEDED");
  EXPECT_EQ(InfoOfError(refused).metadata().at("tenant"), "a");
  backend_->Take().sink->OnDone(OkStatus(), TextResult("x"));
  first.join();
  std::thread engine([this] { backend_->Take().sink->OnDone(OkStatus(), TextResult("x")); });
  EXPECT_TRUE(Generate("all").ok());
  engine.join();
}

}  // namespace
}  // namespace paligemma
