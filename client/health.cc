// SPDX-License-Identifier: Apache-2.0
#include "client/health.h"

#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/generic_stub.h>

#include <vector>

#include "client/errors.h"

namespace paligemma::client {
namespace {

// HealthCheckRequest {string service = 1;}
grpc::ByteBuffer EncodeRequest(const std::string& service) {
  PG_CHECK(service.size() < 128) << "a longer name needs a longer length";
  const std::string bytes = std::string("\x0a") + static_cast<char>(service.size()) + service;
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

// HealthCheckResponse {ServingStatus status = 1;}, of which SERVING is 1.
bool IsServing(const grpc::ByteBuffer& response) {
  std::vector<grpc::Slice> slices;
  if (!response.Dump(&slices).ok()) return false;
  std::string bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes == "\x08\x01";
}

}  // namespace

StatusOr<bool> CheckHealth(std::shared_ptr<grpc::Channel> channel, const std::string& service,
                           std::chrono::milliseconds timeout) {
  grpc::GenericStub stub(std::move(channel));
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + timeout);
  const auto call = stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check",
                                          EncodeRequest(service), &queue);
  call->StartCall();
  grpc::ByteBuffer response;
  grpc::Status status;
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  if (!status.ok()) return FromGrpcStatus(status, 0);
  return IsServing(response);
}

}  // namespace paligemma::client
