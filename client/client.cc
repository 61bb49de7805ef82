// SPDX-License-Identifier: Apache-2.0
#include "client/client.h"

#include <algorithm>
#include <thread>

#include "client/errors.h"
#include "client/health.h"
#include "proto/task_model.h"

namespace paligemma::client {
namespace {

using Service = v1::PaliGemmaService::Stub;

// Moves a response into its place in the task's response.
template <typename Response>
StatusOr<v1::TaskResponse> Wrap(StatusOr<Response> response,
                                Response* (v1::TaskResponse::*field)()) {
  PG_RETURN_IF_ERROR(response.status());
  v1::TaskResponse wrapped;
  *(wrapped.*field)() = *std::move(response);
  return wrapped;
}

}  // namespace

StatusOr<std::unique_ptr<Client>> Client::Create(const ClientOptions& options) {
  PG_ASSIGN_OR_RETURN(std::string token, ReadToken(options));
  PG_ASSIGN_OR_RETURN(auto channel, MakeChannel(options));
  return std::unique_ptr<Client>(new Client(options, std::move(token), std::move(channel)));
}

Client::Client(const ClientOptions& options, std::string token,
               std::shared_ptr<grpc::Channel> channel)
    : options_(options),
      token_(std::move(token)),
      channel_(std::move(channel)),
      service_(v1::PaliGemmaService::NewStub(channel_)),
      models_(v1::ModelService::NewStub(channel_)) {}

void Client::Prepare(const std::string& model, grpc::ClientContext* context) const {
  context->set_deadline(std::chrono::system_clock::now() + options_.timeout);
  if (!token_.empty()) context->AddMetadata("authorization", "Bearer " + token_);
  if (!model.empty()) context->AddMetadata("x-paligemma-model", model);
}

template <typename Response, typename Request>
StatusOr<Response> Client::Unary(grpc::Status (Service::*method)(grpc::ClientContext*,
                                                                 const Request&, Response*),
                                 const Request& request) {
  grpc::ClientContext context;
  Prepare(request.model(), &context);
  Response response;
  const grpc::Status status = (service_.get()->*method)(&context, request, &response);
  if (!status.ok()) return FromGrpcStatus(status, request.ByteSizeLong());
  return response;
}

StatusOr<v1::CaptionResponse> Client::Call(const v1::CaptionRequest& request) {
  return Unary(&Service::Caption, request);
}
StatusOr<v1::AnswerResponse> Client::Call(const v1::AnswerRequest& request) {
  return Unary(&Service::Answer, request);
}
StatusOr<v1::DetectResponse> Client::Call(const v1::DetectRequest& request) {
  return Unary(&Service::Detect, request);
}
StatusOr<v1::SegmentResponse> Client::Call(const v1::SegmentRequest& request) {
  return Unary(&Service::Segment, request);
}
StatusOr<v1::ReadTextResponse> Client::Call(const v1::ReadTextRequest& request) {
  return Unary(&Service::ReadText, request);
}
StatusOr<v1::GenerateResponse> Client::Call(const v1::GenerateRequest& request) {
  return Unary(&Service::Generate, request);
}

StatusOr<v1::TaskResponse> Client::Call(const v1::TaskRequest& task) {
  using Out = v1::TaskResponse;
  switch (task.task_case()) {
    case v1::TaskRequest::kCaption:
      return Wrap(Call(task.caption()), &Out::mutable_caption);
    case v1::TaskRequest::kAnswer:
      return Wrap(Call(task.answer()), &Out::mutable_answer);
    case v1::TaskRequest::kDetect:
      return Wrap(Call(task.detect()), &Out::mutable_detect);
    case v1::TaskRequest::kSegment:
      return Wrap(Call(task.segment()), &Out::mutable_segment);
    case v1::TaskRequest::kReadText:
      return Wrap(Call(task.read_text()), &Out::mutable_read_text);
    case v1::TaskRequest::kGenerate:
      return Wrap(Call(task.generate()), &Out::mutable_generate);
    case v1::TaskRequest::TASK_NOT_SET:
      break;
  }
  return InvalidField("task", "", "", "is not set");
}

StatusOr<v1::TaskResponse> Client::Stream(const v1::TaskRequest& task,
                                          const EventHandler& on_event) {
  grpc::ClientContext context;
  Prepare(ModelOf(task), &context);
  v1::StreamGenerateRequest request;
  *request.mutable_task() = task;
  const auto reader = service_->StreamGenerate(&context, request);
  v1::StreamGenerateResponse message;
  v1::TaskResponse result;
  bool wanted = true;
  while (reader->Read(&message)) {
    if (message.has_result()) {
      result.Swap(message.mutable_result());
    } else if (wanted && message.event_case() != v1::StreamGenerateResponse::EVENT_NOT_SET) {
      wanted = on_event(message);
      if (!wanted) context.TryCancel();
    }
  }
  const grpc::Status status = reader->Finish();
  if (!status.ok()) return FromGrpcStatus(status, request.ByteSizeLong());
  if (result.result_case() == v1::TaskResponse::RESULT_NOT_SET) {
    return Status(StatusCode::kInternal, "the stream ended without a result");
  }
  return result;
}

StatusOr<std::vector<v1::Model>> Client::Models() {
  std::vector<v1::Model> models;
  v1::ListModelsRequest request;
  do {
    grpc::ClientContext context;
    Prepare("", &context);
    v1::ListModelsResponse page;
    const grpc::Status status = models_->ListModels(&context, request, &page);
    if (!status.ok()) return FromGrpcStatus(status, request.ByteSizeLong());
    for (v1::Model& model : *page.mutable_models()) models.push_back(std::move(model));
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return models;
}

StatusOr<bool> Client::Healthy(std::chrono::milliseconds wait) {
  constexpr std::chrono::milliseconds kPause{100};
  using SteadyClock = std::chrono::steady_clock;
  const auto end = SteadyClock::now() + wait;
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - SteadyClock::now());
    StatusOr<bool> healthy = CheckHealth(
        channel_, kServiceName,
        wait.count() == 0 ? options_.timeout : std::min(options_.timeout, std::max(left, kPause)));
    if ((healthy.ok() && *healthy) || SteadyClock::now() + kPause >= end) return healthy;
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace paligemma::client
