// SPDX-License-Identifier: Apache-2.0
#include "server/services/paligemma_service.h"

#include <string>
#include <utility>

#include "proto/task_model.h"
#include "server/access/access_log.h"
#include "server/rpc/message.h"
#include "server/rpc/unary_call.h"
#include "server/services/stream_sink.h"

namespace paligemma {
namespace {

constexpr char kService[] = "paligemma.v1.PaliGemmaService";
constexpr char kModelMetadata[] = "x-paligemma-model";

template <typename Request>
const std::string& ModelOf(const Request& request) {
  return request.model();
}

const std::string& ModelOf(const v1::StreamGenerateRequest& request) {
  return paligemma::ModelOf(request.task());
}

// Checks credentials, admits and parses a call, whether unary or streamed.
struct Accepted {
  std::shared_ptr<const ServedModel::Loaded> model;
  paligemma::Request request;
};

template <typename Proto>
StatusOr<Accepted> Accept(const ServiceDependencies& dependencies, const rpc::Call& call,
                          grpc::ByteBuffer* bytes, CallSession* session) {
  PG_RETURN_IF_ERROR(session->Authenticate(call, Right::kGenerate));
  Accepted accepted;
  PG_ASSIGN_OR_RETURN(accepted.model, session->Admit());
  Proto proto;
  PG_RETURN_IF_ERROR(rpc::ParseMessage(dependencies.ReceiveLimit(), bytes, &proto));
  const ServedModel& model = *dependencies.model;
  PG_RETURN_IF_ERROR(
      CheckModelMetadata(call.Metadata(kModelMetadata), ModelOf(proto), model.name()));
  PG_ASSIGN_OR_RETURN(ParsedRequest parsed, ReadRequest(&proto, Clock::Real()->Now()));
  session->Accept(call, &parsed);
  accepted.request = std::move(parsed.request);
  return accepted;
}

template <typename Response>
class UnarySink : public ResponseSink {
 public:
  UnarySink(std::shared_ptr<rpc::UnaryCall> call, std::unique_ptr<CallSession> session,
            std::shared_ptr<const ServedModel::Loaded> model)
      : call_(std::move(call)), session_(std::move(session)), model_(std::move(model)) {}

  void OnDelta(AnswerDelta delta) override {
    session_->NoteDelta(static_cast<int>(delta.tokens.size()));
  }

  void OnDone(Status status, Answer result) override {
    session_->Note(result);
    Response response;
    size_t bytes = 0;
    if (status.ok()) {
      const TimePoint began = Clock::Real()->Now();
      status = model_->writer->Write(session_->response_context(), std::move(result), &response);
      session_->NotePostprocess(Clock::Real()->Now() - began, InfoOf(&response));
    }
    if (status.ok()) {
      bytes = response.ByteSizeLong();
      status = session_->CheckSize(bytes);
    }
    grpc::ByteBuffer message;
    if (status.ok()) {
      StatusOr<grpc::ByteBuffer> serialized = rpc::SerializeMessage(response);
      status = serialized.status();
      if (serialized.ok()) message = *std::move(serialized);
    }
    const CallSession::Outcome outcome = session_->Finish(status, bytes);
    call_->Finish(outcome.status, message, outcome.trailers);
  }

 private:
  const std::shared_ptr<rpc::UnaryCall> call_;
  const std::unique_ptr<CallSession> session_;
  const std::shared_ptr<const ServedModel::Loaded> model_;
};

// Only the sink knows the session. A refusal goes through the sink too, so that a call ends in one
// place.
template <typename Call, typename Sink>
void Submit(Accepted accepted, const std::shared_ptr<Call>& call, const std::shared_ptr<Sink>& sink,
            CallSession* session, const std::function<void(Backend::Handle)>& on_accepted) {
  const auto backend = accepted.model->backend;
  session->NoteAccepted();
  const StatusOr<Backend::Handle> handle = backend->Submit(std::move(accepted.request), sink);
  if (!handle.ok()) {
    session->NoteRefused();
    sink->OnDone(handle.status(), Answer());
    return;
  }
  on_accepted(*handle);
  call->OnCancel([backend, id = *handle] { backend->Cancel(id); });
}

template <typename Request, typename Response>
void HandleUnary(const ServiceDependencies& dependencies, const char* name,
                 const std::shared_ptr<rpc::UnaryCall>& call) {
  auto session = std::make_unique<CallSession>(dependencies, *call, kService, name);
  StatusOr<Accepted> accepted =
      Accept<Request>(dependencies, *call, call->request(), session.get());
  if (!accepted.ok()) {
    const CallSession::Outcome outcome = session->Finish(accepted.status(), 0);
    call->Finish(outcome.status, {}, outcome.trailers);
    return;
  }
  CallSession* const borrowed = session.get();
  const auto sink =
      std::make_shared<UnarySink<Response>>(call, std::move(session), accepted->model);
  Submit(std::move(*accepted), call, sink, borrowed, [](Backend::Handle) {});
}

void HandleStream(const ServiceDependencies& dependencies,
                  const std::shared_ptr<StreamGenerateCall>& call) {
  auto session = std::make_unique<CallSession>(dependencies, *call, kService, "StreamGenerate");
  StatusOr<Accepted> accepted =
      Accept<v1::StreamGenerateRequest>(dependencies, *call, call->request(), session.get());
  if (!accepted.ok()) {
    CallSession::Outcome outcome = session->Finish(accepted.status(), 0);
    call->Finish(std::move(outcome.status), std::move(outcome.trailers));
    return;
  }
  CallSession* const borrowed = session.get();
  const auto sink = std::make_shared<StreamSink>(call, std::move(session), accepted->model);
  Submit(std::move(*accepted), call, sink, borrowed,
         [&sink](Backend::Handle handle) { sink->SetHandle(handle); });
}

}  // namespace

template <typename Request, typename Response, typename ArmMethod>
void PaliGemmaServiceHandler::StartUnary(
    const char* name, ArmMethod method,
    const std::vector<std::unique_ptr<grpc::ServerCompletionQueue>>& queues) {
  auto description = std::make_shared<rpc::UnaryCall::Method>();
  description->arm = [this, method](grpc::ServerContext* context, grpc::ByteBuffer* request,
                                    rpc::UnaryCall::Writer* writer,
                                    grpc::ServerCompletionQueue* queue, void* tag) {
    (service_.*method)(context, request, writer, queue, queue, tag);
  };
  description->handle = [this, name](std::shared_ptr<rpc::UnaryCall> call) {
    HandleUnary<Request, Response>(dependencies_, name, call);
  };
  description->registry = registry_;
  rpc::ArmOnAll<rpc::UnaryCall>(description, queues);
}

void PaliGemmaServiceHandler::StartStream(
    const std::vector<std::unique_ptr<grpc::ServerCompletionQueue>>& queues) {
  auto description = std::make_shared<StreamGenerateCall::Method>();
  description->arm = [this](grpc::ServerContext* context, grpc::ByteBuffer* request,
                            StreamGenerateCall::Writer* writer, grpc::ServerCompletionQueue* queue,
                            void* tag) {
    service_.RequestStreamGenerate(context, request, writer, queue, queue, tag);
  };
  description->handle = [this](std::shared_ptr<StreamGenerateCall> call) {
    HandleStream(dependencies_, call);
  };
  description->registry = registry_;
  description->stall_timeout = dependencies_.config->stall_timeout;
  rpc::ArmOnAll<StreamGenerateCall>(description, queues);
}

void PaliGemmaServiceHandler::Start(
    const std::vector<std::unique_ptr<grpc::ServerCompletionQueue>>& queues) {
  using S = RawService;
  StartUnary<v1::CaptionRequest, v1::CaptionResponse>("Caption", &S::RequestCaption, queues);
  StartUnary<v1::AnswerRequest, v1::AnswerResponse>("Answer", &S::RequestAnswer, queues);
  StartUnary<v1::DetectRequest, v1::DetectResponse>("Detect", &S::RequestDetect, queues);
  StartUnary<v1::SegmentRequest, v1::SegmentResponse>("Segment", &S::RequestSegment, queues);
  StartUnary<v1::ReadTextRequest, v1::ReadTextResponse>("ReadText", &S::RequestReadText, queues);
  StartUnary<v1::GenerateRequest, v1::GenerateResponse>("Generate", &S::RequestGenerate, queues);
  StartStream(queues);
}

}  // namespace paligemma
