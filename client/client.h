// SPDX-License-Identifier: Apache-2.0
// A client of one server. Thread safe; calls block.
//
//   auto client = Client::Create({.server = "localhost:8001"});
//   v1::CaptionRequest request;
//   request.add_images()->set_content(bytes);
//   const StatusOr<v1::CaptionResponse> response = (*client)->Call(request);
//
// Errors carry the server's code, reason, metadata and retry delay (client/errors.h).
#ifndef CLIENT_CLIENT_H_
#define CLIENT_CLIENT_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "client/channel.h"
#include "core/base/status.h"
#include "paligemma/v1/model_service.grpc.pb.h"
#include "paligemma/v1/paligemma_service.grpc.pb.h"

namespace paligemma::client {

class Client {
 public:
  // Does not connect yet. The error is a usage error (client/channel.h).
  static StatusOr<std::unique_ptr<Client>> Create(const ClientOptions& options);

  StatusOr<v1::CaptionResponse> Call(const v1::CaptionRequest& request);
  StatusOr<v1::AnswerResponse> Call(const v1::AnswerRequest& request);
  StatusOr<v1::DetectResponse> Call(const v1::DetectRequest& request);
  StatusOr<v1::SegmentResponse> Call(const v1::SegmentRequest& request);
  StatusOr<v1::ReadTextResponse> Call(const v1::ReadTextRequest& request);
  StatusOr<v1::GenerateResponse> Call(const v1::GenerateRequest& request);
  // The unary method of the task inside.
  StatusOr<v1::TaskResponse> Call(const v1::TaskRequest& task);

  // The same as a stream. `on_event` gets each delta and object as it comes, in the caller's
  // thread; where it returns false the call is cancelled. A stream without a result is an error.
  using EventHandler = std::function<bool(const v1::StreamGenerateResponse&)>;
  StatusOr<v1::TaskResponse> Stream(const v1::TaskRequest& task, const EventHandler& on_event);

  // All models and adapters, of all pages.
  StatusOr<std::vector<v1::Model>> Models();

  // Returns true if the health service says SERVING for the PaliGemmaService. Asks again for up to
  // `wait` while it does not, and returns what the last question returned.
  StatusOr<bool> Healthy(std::chrono::milliseconds wait = std::chrono::milliseconds(0));

 private:
  Client(const ClientOptions& options, std::string token, std::shared_ptr<grpc::Channel> channel);
  void Prepare(const std::string& model, grpc::ClientContext* context) const;
  template <typename Response, typename Request>
  StatusOr<Response> Unary(grpc::Status (v1::PaliGemmaService::Stub::*method)(grpc::ClientContext*,
                                                                              const Request&,
                                                                              Response*),
                           const Request& request);

  const ClientOptions options_;
  const std::string token_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::PaliGemmaService::Stub> service_;
  const std::unique_ptr<v1::ModelService::Stub> models_;
};

}  // namespace paligemma::client

#endif  // CLIENT_CLIENT_H_
