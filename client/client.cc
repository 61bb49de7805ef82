// SPDX-License-Identifier: Apache-2.0
#include "client/client.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include "client/health.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "paligemma/v1/error_reason.pb.h"

namespace paligemma::client {
namespace {

constexpr char kServiceConfig[] = R"({
  "methodConfig": [{
    "name": [{"service": "paligemma.v1.PaliGemmaService"}, {"service": "paligemma.v1.ModelService"}],
    "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.2s", "maxBackoff": "2s",
                    "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}
  }],
  "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1}
})";

StatusOr<std::string> ReadPem(const std::string& path) {
  if (path.empty()) return std::string();
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) return Status(StatusCode::kNotFound, path + ": cannot be read");
  return text.str();
}

StatusOr<std::shared_ptr<grpc::ChannelCredentials>> Credentials(const ClientOptions& options) {
  if (!options.tls && options.tls_ca.empty() && options.tls_cert.empty()) {
    return grpc::InsecureChannelCredentials();
  }
  grpc::SslCredentialsOptions ssl;
  PG_ASSIGN_OR_RETURN(ssl.pem_root_certs, ReadPem(options.tls_ca));
  PG_ASSIGN_OR_RETURN(ssl.pem_cert_chain, ReadPem(options.tls_cert));
  PG_ASSIGN_OR_RETURN(ssl.pem_private_key, ReadPem(options.tls_key));
  return grpc::SslCredentials(ssl);
}

StatusCode CodeOf(grpc::StatusCode code) {
  const auto own = static_cast<StatusCode>(code);
  // Of gRPC's other codes none is sent by our server.
  return StatusCodeName(own) == "INTERNAL" ? StatusCode::kInternal : own;
}

}  // namespace

Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return OkStatus();
  const StatusCode code = CodeOf(status.error_code());
  google::rpc::Status rich;
  Reason reason = Reason::kNone;
  Status::Metadata metadata;
  if (rich.ParseFromString(status.error_details())) {
    for (const auto& detail : rich.details()) {
      google::rpc::ErrorInfo info;
      if (!detail.UnpackTo(&info)) continue;
      v1::ErrorReason parsed;
      if (v1::ErrorReason_Parse("ERROR_REASON_" + info.reason(), &parsed)) {
        reason = static_cast<Reason>(parsed);
      }
      for (const auto& [key, value] : info.metadata()) metadata.emplace_back(key, value);
    }
  }
  return Status(code, reason, status.error_message(), std::move(metadata));
}

std::string ReasonOf(const Status& status) {
  if (status.reason() == Reason::kNone) return "";
  const std::string& name =
      v1::ErrorReason_Name(static_cast<v1::ErrorReason>(static_cast<int>(status.reason())));
  return name.substr(std::min(name.size(), sizeof("ERROR_REASON_") - 1));
}

StatusOr<std::unique_ptr<Client>> Client::Create(const ClientOptions& options) {
  PG_ASSIGN_OR_RETURN(auto credentials, Credentials(options));
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(kServiceConfig);
  arguments.SetMaxReceiveMessageSize(options.max_response_bytes);
  arguments.SetInt(GRPC_ARG_PER_RPC_RETRY_BUFFER_SIZE, options.retry_buffer_bytes);
  std::unique_ptr<Client> client(new Client(options));
  client->channel_ = grpc::CreateCustomChannel(options.server, credentials, arguments);
  client->service_ = v1::PaliGemmaService::NewStub(client->channel_);
  client->models_ = v1::ModelService::NewStub(client->channel_);
  return client;
}

void Client::Prepare(grpc::ClientContext* context) const {
  context->set_deadline(std::chrono::system_clock::now() + options_.timeout);
}

template <typename Response, typename Stub, typename Method, typename Request>
StatusOr<Response> Client::Unary(Stub* stub, Method method, const Request& request) {
  grpc::ClientContext context;
  Prepare(&context);
  Response response;
  const grpc::Status status = (stub->*method)(&context, request, &response);
  if (!status.ok()) return FromGrpcStatus(status);
  return response;
}

StatusOr<v1::CaptionResponse> Client::Call(const v1::CaptionRequest& request) {
  return Unary<v1::CaptionResponse>(service_.get(), &v1::PaliGemmaService::Stub::Caption, request);
}
StatusOr<v1::AnswerResponse> Client::Call(const v1::AnswerRequest& request) {
  return Unary<v1::AnswerResponse>(service_.get(), &v1::PaliGemmaService::Stub::Answer, request);
}
StatusOr<v1::DetectResponse> Client::Call(const v1::DetectRequest& request) {
  return Unary<v1::DetectResponse>(service_.get(), &v1::PaliGemmaService::Stub::Detect, request);
}
StatusOr<v1::SegmentResponse> Client::Call(const v1::SegmentRequest& request) {
  return Unary<v1::SegmentResponse>(service_.get(), &v1::PaliGemmaService::Stub::Segment, request);
}
StatusOr<v1::ReadTextResponse> Client::Call(const v1::ReadTextRequest& request) {
  return Unary<v1::ReadTextResponse>(service_.get(), &v1::PaliGemmaService::Stub::ReadText,
                                     request);
}
StatusOr<v1::GenerateResponse> Client::Call(const v1::GenerateRequest& request) {
  return Unary<v1::GenerateResponse>(service_.get(), &v1::PaliGemmaService::Stub::Generate,
                                     request);
}
StatusOr<v1::ListModelsResponse> Client::Call(const v1::ListModelsRequest& request) {
  return Unary<v1::ListModelsResponse>(models_.get(), &v1::ModelService::Stub::ListModels, request);
}

StatusOr<v1::TaskResponse> Client::Call(const v1::TaskRequest& task) {
  v1::TaskResponse out;
  const auto keep = [](auto result, auto* field) -> Status {
    if (result.ok()) *field = *std::move(result);
    return result.status();
  };
  Status status;
  switch (task.task_case()) {
    case v1::TaskRequest::kCaption:
      status = keep(Call(task.caption()), out.mutable_caption());
      break;
    case v1::TaskRequest::kAnswer:
      status = keep(Call(task.answer()), out.mutable_answer());
      break;
    case v1::TaskRequest::kDetect:
      status = keep(Call(task.detect()), out.mutable_detect());
      break;
    case v1::TaskRequest::kSegment:
      status = keep(Call(task.segment()), out.mutable_segment());
      break;
    case v1::TaskRequest::kReadText:
      status = keep(Call(task.read_text()), out.mutable_read_text());
      break;
    case v1::TaskRequest::kGenerate:
      status = keep(Call(task.generate()), out.mutable_generate());
      break;
    case v1::TaskRequest::TASK_NOT_SET:
      status = InvalidField("task", "", "", "is not set");
  }
  if (!status.ok()) return status;
  return out;
}

StatusOr<v1::TaskResponse> Client::Stream(
    const v1::TaskRequest& task,
    const std::function<void(const v1::StreamGenerateResponse&)>& on_event) {
  grpc::ClientContext context;
  Prepare(&context);
  v1::StreamGenerateRequest request;
  *request.mutable_task() = task;
  const auto reader = service_->StreamGenerate(&context, request);
  v1::StreamGenerateResponse message;
  v1::TaskResponse result;
  bool has_result = false;
  while (reader->Read(&message)) {
    if (message.has_result()) {
      result.Swap(message.mutable_result());
      has_result = true;
    } else {
      on_event(message);
    }
  }
  const grpc::Status status = reader->Finish();
  if (!status.ok()) return FromGrpcStatus(status);
  if (!has_result) return InternalError("the stream ended without a result");
  return result;
}

StatusOr<bool> Client::Healthy() {
  return CheckHealth(channel_, "paligemma.v1.PaliGemmaService", options_.timeout);
}

void ForEachConcurrently(int count, int concurrency, const std::function<void(int)>& work) {
  std::atomic<int> next{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < std::min(count, concurrency); ++i) {
    threads.emplace_back([&] {
      for (int k = next++; k < count; k = next++) work(k);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace paligemma::client
