// SPDX-License-Identifier: Apache-2.0
// A gRPC server in this process that answers what a test scripts, and keeps what arrived.
#ifndef TESTS_CLIENT_FAKE_SERVER_H_
#define TESTS_CLIENT_FAKE_SERVER_H_

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/client.h"
#include "core/base/mutex.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "paligemma/v1/model_service.grpc.pb.h"
#include "paligemma/v1/paligemma_service.grpc.pb.h"

namespace paligemma::client {

// An error as the server sends it: ErrorInfo, RequestInfo, and where a retry can help RetryInfo.
inline grpc::Status RichError(grpc::StatusCode code, const std::string& reason,
                              const std::map<std::string, std::string>& metadata = {},
                              int retry_ms = -1) {
  google::rpc::Status rich;
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("paligemma.serving");
  info.mutable_metadata()->insert(metadata.begin(), metadata.end());
  rich.add_details()->PackFrom(info);
  google::rpc::RequestInfo request;
  request.set_request_id("id-1");
  rich.add_details()->PackFrom(request);
  if (retry_ms >= 0) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(retry_ms / 1000);
    retry.mutable_retry_delay()->set_nanos(retry_ms % 1000 * 1'000'000);
    rich.add_details()->PackFrom(retry);
  }
  return grpc::Status(code, "because of " + reason, rich.SerializeAsString());
}

// Behaviours are set before the first call. Thread safe afterwards.
class FakeServer {
 public:
  using Events = std::vector<v1::StreamGenerateResponse>;

  // Called for every unary task, as a TaskRequest; fills the response of the same kind.
  std::function<grpc::Status(grpc::ServerContext*, const v1::TaskRequest&, v1::TaskResponse*)>
      on_task = [](grpc::ServerContext*, const v1::TaskRequest&, v1::TaskResponse*) {
        return grpc::Status::OK;
      };
  Events events;  // of every stream
  grpc::Status stream_status;
  std::function<void(const v1::ListModelsRequest&, v1::ListModelsResponse*)> on_list;

  // Requests of more bytes are refused by gRPC itself; -1 means no limit.
  explicit FakeServer(int max_request_bytes = -1) : service_(this), models_(this) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(&service_);
    builder.RegisterService(&models_);
    builder.SetMaxReceiveMessageSize(max_request_bytes);
    server_ = builder.BuildAndStart();
  }
  ~FakeServer() { server_->Shutdown(std::chrono::system_clock::now()); }

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  int num_calls() const { return num_calls_; }
  int most_at_once() const { return most_at_once_; }

  std::unique_ptr<Client> Connect(ClientOptions options = {}) const {
    options.server = address();
    auto client = Client::Create(options);
    PG_CHECK(client.ok()) << client.status().ToString();
    return *std::move(client);
  }

  static std::string Metadata(grpc::ServerContext* context, const std::string& key) {
    const auto found = context->client_metadata().find(key);
    if (found == context->client_metadata().end()) return "";
    return std::string(found->second.data(), found->second.size());
  }

 private:
  // Counts a call in and out.
  class Visit {
   public:
    explicit Visit(FakeServer* server) : server_(server) {
      ++server_->num_calls_;
      const int inside = ++server_->inside_;
      int most = server_->most_at_once_;
      while (inside > most && !server_->most_at_once_.compare_exchange_weak(most, inside)) {
      }
    }
    ~Visit() { --server_->inside_; }

   private:
    FakeServer* const server_;
  };

  class Service final : public v1::PaliGemmaService::Service {
   public:
    explicit Service(FakeServer* owner) : owner_(owner) {}

#define PG_FAKE_METHOD(Method, field)                                                   \
  grpc::Status Method(grpc::ServerContext* context, const v1::Method##Request* request, \
                      v1::Method##Response* response) override {                        \
    const Visit visit(owner_);                                                          \
    v1::TaskRequest task;                                                               \
    *task.mutable_##field() = *request;                                                 \
    v1::TaskResponse answer;                                                            \
    const grpc::Status status = owner_->on_task(context, task, &answer);                \
    *response = answer.field();                                                         \
    return status;                                                                      \
  }
    PG_FAKE_METHOD(Caption, caption)
    PG_FAKE_METHOD(Answer, answer)
    PG_FAKE_METHOD(Detect, detect)
    PG_FAKE_METHOD(Segment, segment)
    PG_FAKE_METHOD(ReadText, read_text)
    PG_FAKE_METHOD(Generate, generate)
#undef PG_FAKE_METHOD

    grpc::Status StreamGenerate(grpc::ServerContext*, const v1::StreamGenerateRequest*,
                                grpc::ServerWriter<v1::StreamGenerateResponse>* writer) override {
      const Visit visit(owner_);
      for (const v1::StreamGenerateResponse& event : owner_->events) writer->Write(event);
      return owner_->stream_status;
    }

   private:
    FakeServer* const owner_;
  };

  class Models final : public v1::ModelService::Service {
   public:
    explicit Models(FakeServer* owner) : owner_(owner) {}
    grpc::Status ListModels(grpc::ServerContext*, const v1::ListModelsRequest* request,
                            v1::ListModelsResponse* response) override {
      if (owner_->on_list) owner_->on_list(*request, response);
      return grpc::Status::OK;
    }

   private:
    FakeServer* const owner_;
  };

  Service service_;
  Models models_;
  int port_ = 0;
  std::atomic<int> num_calls_{0}, inside_{0}, most_at_once_{0};
  std::unique_ptr<grpc::Server> server_;
};

inline v1::StreamGenerateResponse Delta(const std::string& text) {
  v1::StreamGenerateResponse event;
  event.mutable_delta()->set_text(text);
  return event;
}

inline v1::StreamGenerateResponse CaptionResult(const std::string& caption) {
  v1::StreamGenerateResponse event;
  event.mutable_result()->mutable_caption()->set_caption(caption);
  return event;
}

inline v1::DetectedObject FoundObject(const std::string& label) {
  v1::DetectedObject object;
  object.set_label(label);
  object.set_score(0.5f);
  object.mutable_pixel_box()->set_x_min(1);
  object.mutable_pixel_box()->set_y_min(2);
  object.mutable_pixel_box()->set_x_max(30);
  object.mutable_pixel_box()->set_y_max(40);
  return object;
}

}  // namespace paligemma::client

#endif  // TESTS_CLIENT_FAKE_SERVER_H_
