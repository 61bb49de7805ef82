// SPDX-License-Identifier: Apache-2.0
#include "server/services/model_service.h"

#include <algorithm>
#include <set>
#include <string>

#include "core/request/validate.h"
#include "core/vision/image_decoder.h"
#include "server/api/answer_writer.h"
#include "server/rpc/message.h"
#include "server/rpc/unary_call.h"

namespace paligemma {
namespace {

constexpr int kMaxPageSize = 1000;
constexpr char kService[] = "paligemma.v1.ModelService";

v1::ModelState StateOf(const Lifecycle& lifecycle) {
  if (!lifecycle.live()) return v1::MODEL_STATE_FAILED;
  switch (lifecycle.phase()) {
    case Phase::kLoading:
      return v1::MODEL_STATE_LOADING;
    case Phase::kReady:
      return v1::MODEL_STATE_READY;
    case Phase::kLeaving:
    case Phase::kDraining:
      break;
  }
  return v1::MODEL_STATE_UNLOADING;
}

v1::Resampling ToProto(Resampling resampling) {
  switch (resampling) {
    case Resampling::kPillowBicubic:
      return v1::RESAMPLING_PILLOW_BICUBIC;
    case Resampling::kBilinear:
      return v1::RESAMPLING_BILINEAR;
    case Resampling::kBilinearAntialias:
      return v1::RESAMPLING_BILINEAR_ANTIALIAS;
  }
  return v1::RESAMPLING_UNSPECIFIED;
}

v1::Padding ToProto(Padding padding) {
  switch (padding) {
    case Padding::kSquash:
      return v1::PADDING_SQUASH;
    case Padding::kPadWhite:
      return v1::PADDING_WHITE;
  }
  return v1::PADDING_UNSPECIFIED;
}

void FillLimits(const Manifest& manifest, const ServerConfig& config, v1::ModelLimits* limits) {
  limits->set_max_image_count(manifest.image.max_count);
  limits->set_max_image_bytes(config.host.image_limits.max_bytes);
  limits->set_max_image_pixels(config.host.image_limits.max_pixels);
  limits->set_max_input_tokens(manifest.limits.max_input_tokens);
  limits->set_max_image_side(config.host.image_limits.max_side);
  for (const auto& [task, spec] : manifest.tasks) {
    v1::MethodLimits* const of_method = limits->add_methods();
    of_method->set_method(std::string(TaskName(task)));
    of_method->set_max_output_tokens(manifest.MaxOutputTokens(task));
    of_method->set_default_output_tokens(manifest.DefaultOutputTokens(task));
    limits->set_max_output_tokens(
        std::max(limits->max_output_tokens(), of_method->max_output_tokens()));
  }
  limits->set_max_label_count(manifest.limits.max_labels);
  limits->set_max_candidate_count(kMaxCandidates);
  limits->set_max_response_bytes(config.max_response_bytes);
  const auto deadline = config.max_deadline.count();
  limits->mutable_max_deadline()->set_seconds(deadline / 1000);
  limits->mutable_max_deadline()->set_nanos(static_cast<int>(deadline % 1000) * 1'000'000);
  for (const char* type : {"image/jpeg", "image/png", "image/webp"}) {
    limits->add_accepted_mime_types(type);
  }
}

template <typename Request, typename Answer>
StatusOr<grpc::ByteBuffer> AnswerCall(const ServiceDependencies& dependencies, rpc::UnaryCall* call,
                                      CallSession* session, Answer answer) {
  PG_RETURN_IF_ERROR(session->Authenticate(*call, Right::kModels));
  Request request;
  PG_RETURN_IF_ERROR(rpc::ParseMessage(dependencies.ReceiveLimit(), call->request(), &request));
  PG_ASSIGN_OR_RETURN(const auto response, answer(dependencies, request));
  return rpc::SerializeMessage(response);
}

// Answers a call of this service at once, on the queue's thread.
template <typename Request, typename ArmMethod, typename Answer>
void StartMethod(const ServiceDependencies& dependencies, rpc::CallRegistry* registry,
                 const char* name, ArmMethod arm, Answer answer,
                 const std::vector<std::unique_ptr<grpc::ServerCompletionQueue>>& queues) {
  auto method = std::make_shared<rpc::UnaryCall::Method>();
  method->arm = std::move(arm);
  method->registry = registry;
  method->handle = [&dependencies, name, answer](std::shared_ptr<rpc::UnaryCall> call) {
    CallSession session(dependencies, *call, kService, name);
    const StatusOr<grpc::ByteBuffer> response =
        AnswerCall<Request>(dependencies, call.get(), &session, answer);
    const grpc::ByteBuffer bytes = response.ok() ? *response : grpc::ByteBuffer();
    const CallSession::Outcome outcome = session.Finish(response.status(), bytes.Length());
    call->Finish(outcome.status, bytes, outcome.trailers);
  };
  rpc::ArmOnAll<rpc::UnaryCall>(method, queues);
}

}  // namespace

v1::Model DescribeModel(const ServiceDependencies& dependencies) {
  const Manifest& manifest = dependencies.model->manifest();
  v1::Model model;
  model.set_name(dependencies.model->name());
  model.set_display_name(manifest.display_name);
  model.set_revision(manifest.revision);
  model.set_state(StateOf(*dependencies.lifecycle));
  model.set_image_size(manifest.image.size);
  model.set_image_token_count(manifest.image.tokens);
  model.set_resampling(ToProto(manifest.image.resampling));
  model.set_padding(ToProto(manifest.image.padding));
  std::set<std::string> languages;
  for (const auto& [task, spec] : manifest.tasks) {
    model.add_supported_methods(std::string(TaskName(task)));
    languages.insert(spec.languages.begin(), spec.languages.end());
  }
  for (const std::string& language : languages) model.add_language_codes(language);
  if (const auto caption = manifest.tasks.find(Task::kCaption); caption != manifest.tasks.end()) {
    model.add_caption_lengths(v1::CAPTION_LENGTH_SHORT);
    if (caption->second.long_prompt.has_value()) {
      model.add_caption_lengths(v1::CAPTION_LENGTH_LONG);
    }
  }
  FillLimits(manifest, *dependencies.config, model.mutable_limits());
  model.set_activation_dtype(manifest.dtype);
  model.set_quantization(manifest.quantization);
  if (const auto loaded = dependencies.model->loaded(); loaded != nullptr) {
    for (const std::string& device : loaded->devices) model.add_devices(device);
  }
  model.set_score_definition(kScoreDefinition);
  model.set_license(manifest.provenance.license);
  model.set_source(manifest.provenance.source + ", exporter " + manifest.provenance.exporter);
  return model;
}

StatusOr<v1::ListModelsResponse> ListModels(const ServiceDependencies& dependencies,
                                            const v1::ListModelsRequest& request) {
  if (request.page_size() < 0 || request.page_size() > kMaxPageSize) {
    return InvalidField("page_size", std::to_string(request.page_size()),
                        std::to_string(kMaxPageSize), "must be 0 to 1000");
  }
  // Refuses every page token: one model fits on one page, so the server has given out no token.
  if (!request.page_token().empty()) {
    return InvalidField("page_token", "", "", "is none of this server's");
  }
  v1::ListModelsResponse response;
  *response.add_models() = DescribeModel(dependencies);
  return response;
}

StatusOr<v1::GetModelResponse> GetModel(const ServiceDependencies& dependencies,
                                        const v1::GetModelRequest& request) {
  if (request.name().empty()) return InvalidField("name", "", "", "is empty");
  if (request.name() != dependencies.model->name()) {
    const std::string name = request.name().substr(0, 128);
    return Status(StatusCode::kNotFound, Reason::kModelNotFound,
                  "name: there is no \"" + name + "\" here", {{"model", name}});
  }
  v1::GetModelResponse response;
  *response.mutable_model() = DescribeModel(dependencies);
  return response;
}

void ModelServiceHandler::Start(
    const std::vector<std::unique_ptr<grpc::ServerCompletionQueue>>& queues) {
  StartMethod<v1::ListModelsRequest>(
      dependencies_, registry_, "ListModels",
      [this](auto* context, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestListModels(context, request, writer, queue, queue, tag);
      },
      ListModels, queues);
  StartMethod<v1::GetModelRequest>(
      dependencies_, registry_, "GetModel",
      [this](auto* context, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestGetModel(context, request, writer, queue, queue, tag);
      },
      GetModel, queues);
}

}  // namespace paligemma
