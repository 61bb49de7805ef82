// SPDX-License-Identifier: Apache-2.0
// A client of one server: a channel, deadlines, and retries of what may be retried (UNAVAILABLE,
// after the delay that the server asks for; gRPC's own retry policy does it). Thread safe.
#ifndef CLIENT_CLIENT_H_
#define CLIENT_CLIENT_H_

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "core/base/status.h"
#include "paligemma/v1/model_service.grpc.pb.h"
#include "paligemma/v1/paligemma_service.grpc.pb.h"

namespace paligemma::client {

struct ClientOptions {
  std::string server = "localhost:8001";
  std::chrono::milliseconds timeout{60'000};  // of a call, retries included
  // TLS when any is set.
  bool tls = false;
  std::string tls_ca, tls_cert, tls_key;  // PEM files
  int max_response_bytes = 64 << 20;
  // What a call may send and still be retried; gRPC's own 256 KiB are less than most pictures.
  int retry_buffer_bytes = (16 << 20) + (64 << 10);
};

class Client {
 public:
  // Does not connect yet. Fails when a PEM file cannot be read.
  static StatusOr<std::unique_ptr<Client>> Create(const ClientOptions& options);

  // Errors carry the server's reason and metadata.
  StatusOr<v1::CaptionResponse> Call(const v1::CaptionRequest& request);
  StatusOr<v1::AnswerResponse> Call(const v1::AnswerRequest& request);
  StatusOr<v1::DetectResponse> Call(const v1::DetectRequest& request);
  StatusOr<v1::SegmentResponse> Call(const v1::SegmentRequest& request);
  StatusOr<v1::ReadTextResponse> Call(const v1::ReadTextRequest& request);
  StatusOr<v1::GenerateResponse> Call(const v1::GenerateRequest& request);
  StatusOr<v1::ListModelsResponse> Call(const v1::ListModelsRequest& request);
  // The unary method of the task inside.
  StatusOr<v1::TaskResponse> Call(const v1::TaskRequest& task);

  // The same as a stream: `on_event` gets every message but the result.
  StatusOr<v1::TaskResponse> Stream(
      const v1::TaskRequest& task,
      const std::function<void(const v1::StreamGenerateResponse&)>& on_event);

  // Whether the health service says SERVING for the PaliGemmaService.
  StatusOr<bool> Healthy();

 private:
  explicit Client(const ClientOptions& options) : options_(options) {}
  void Prepare(grpc::ClientContext* context) const;
  template <typename Response, typename Stub, typename Method, typename Request>
  StatusOr<Response> Unary(Stub* stub, Method method, const Request& request);

  const ClientOptions options_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::PaliGemmaService::Stub> service_;
  std::unique_ptr<v1::ModelService::Stub> models_;
};

// The server's error as it was: code, reason, message, metadata.
Status FromGrpcStatus(const grpc::Status& status);

// "FIELD_INVALID", or an empty string.
std::string ReasonOf(const Status& status);

// Calls `work(0)` .. `work(count - 1)` on up to `concurrency` threads; returns when all are done.
void ForEachConcurrently(int count, int concurrency, const std::function<void(int)>& work);

}  // namespace paligemma::client

#endif  // CLIENT_CLIENT_H_
