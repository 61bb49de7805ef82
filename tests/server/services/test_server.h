// SPDX-License-Identifier: Apache-2.0
// A real server on a free port of the loopback interface over a backend that does what a test says.
#ifndef TESTS_SERVER_SERVICES_TEST_SERVER_H_
#define TESTS_SERVER_SERVICES_TEST_SERVER_H_

#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>

#include "core/request/endings.h"
#include "core/request/validate.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/services/grpc_server.h"
#include "tests/testing/test_manifest.h"

namespace paligemma {

// Keeps what is submitted until the test answers it. Thread safe.
class FakeBackend : public Backend {
 public:
  explicit FakeBackend(const ServedModel& model) {
    rules_.manifest = &model.manifest();
    rules_.model_name = model.name();
  }

  StatusOr<Handle> Submit(Request request, std::shared_ptr<ResponseSink> sink) override {
    PG_RETURN_IF_ERROR(ValidateRequest(rules_, &request));
    MutexLock lock(&mutex_);
    if (!refusal_.ok()) return refusal_;
    live_.push_back({++last_, std::move(request), std::move(sink)});
    changed_.NotifyAll();
    return last_;
  }
  void Cancel(Handle handle) override {
    std::shared_ptr<ResponseSink> sink;
    {
      MutexLock lock(&mutex_);
      for (auto it = live_.begin(); it != live_.end(); ++it) {
        if (it->handle != handle) continue;
        sink = std::move(it->sink);
        live_.erase(it);
        break;
      }
      ++num_cancels_;
      changed_.NotifyAll();
    }
    if (sink != nullptr) sink->OnDone(CancelledStatus("decode"), Answer());
  }

  struct Pending {
    Handle handle = 0;
    Request request;
    std::shared_ptr<ResponseSink> sink;
  };
  // Waits for the oldest request; the caller owes its sink the OnDone.
  Pending Take() {
    MutexLock lock(&mutex_);
    WaitFor([this] { return !live_.empty(); });
    Pending pending = std::move(live_.front());
    live_.pop_front();
    return pending;
  }
  void WaitForCancel() {
    MutexLock lock(&mutex_);
    WaitFor([this] { return num_cancels_ > 0; });
  }
  void WaitForRequest() {
    MutexLock lock(&mutex_);
    WaitFor([this] { return !live_.empty(); });
  }
  void Refuse(Status status) {
    MutexLock lock(&mutex_);
    refusal_ = std::move(status);
  }

 private:
  template <typename Condition>
  void WaitFor(Condition condition) PG_REQUIRES(mutex_) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!condition()) {
      const bool in_time = changed_.WaitUntil(&mutex_, deadline);
      PG_CHECK(in_time || condition()) << "nothing came";
    }
  }

  RequestRules rules_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<Pending> live_ PG_GUARDED_BY(mutex_);
  Handle last_ PG_GUARDED_BY(mutex_) = 0;
  int num_cancels_ PG_GUARDED_BY(mutex_) = 0;
  Status refusal_ PG_GUARDED_BY(mutex_);
};

inline Answer TextResult(const std::string& text) {
  Answer result;
  Candidate candidate;
  candidate.text = text;
  candidate.finish = FinishReason::kStop;
  result.candidates.push_back(std::move(candidate));
  result.prompts = {""};
  result.images.push_back({8, 8, 1, ""});
  return result;
}

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() : model_(TestManifest(), "models/test"), log_(config_) {
    config_.listen = "127.0.0.1:0";
    dependencies_ = {&config_, &lifecycle_, &model_, &log_, nullptr};
    dependencies_.heartbeats = &transport_heartbeats_;
    auto server = GrpcServer::Start(dependencies_);
    PG_CHECK(server.ok()) << server.status().ToString();
    server_ = *std::move(server);
    channel_ = grpc::CreateChannel(Target(), grpc::InsecureChannelCredentials());
    stub_ = v1::PaliGemmaService::NewStub(channel_);
  }

  std::string Target() const { return "127.0.0.1:" + std::to_string(server_->port()); }

  void BecomeReady() {
    AnswerWriter::Options options;
    options.manifest = &model_.manifest();
    options.model_name = model_.name();
    options.token_bytes = [](TokenId token) { return TestTokenBytes(token); };
    model_.SetLoaded({backend_, std::make_shared<const AnswerWriter>(std::move(options)), {"cpu"}});
    SetPhase(Phase::kReady);
  }
  void SetPhase(Phase phase) {
    lifecycle_.Advance(phase);
    server_->SetHealth(lifecycle_.ready(), lifecycle_.live());
  }
  void SetStalled(bool stalled) {
    lifecycle_.SetStalled(stalled);
    server_->SetHealth(lifecycle_.ready(), lifecycle_.live());
  }

  static v1::GenerateRequest GoodRequest() {
    v1::GenerateRequest request;
    request.add_images()->set_content("bytes");
    request.set_prompt("a prompt");
    return request;
  }

  static void SetDeadline(std::chrono::milliseconds timeout, grpc::ClientContext* context) {
    context->set_deadline(std::chrono::system_clock::now() + timeout);
  }

  // The detail of its type, or an empty one.
  template <typename Detail>
  static Detail DetailOf(const grpc::Status& status) {
    google::rpc::Status rich;
    if (!rich.ParseFromString(status.error_details())) return Detail();
    Detail found;
    for (const auto& detail : rich.details()) {
      if (detail.UnpackTo(&found)) return found;
    }
    return Detail();
  }
  static google::rpc::ErrorInfo InfoOfError(const grpc::Status& status) {
    return DetailOf<google::rpc::ErrorInfo>(status);
  }
  static std::string ReasonOf(const grpc::Status& status) { return InfoOfError(status).reason(); }

  Heartbeats transport_heartbeats_;
  ServerConfig config_;
  Lifecycle lifecycle_;
  ServedModel model_;
  AccessLog log_;
  ServiceDependencies dependencies_;
  std::shared_ptr<FakeBackend> backend_ = std::make_shared<FakeBackend>(model_);
  std::unique_ptr<GrpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::PaliGemmaService::Stub> stub_;
};

}  // namespace paligemma

#endif  // TESTS_SERVER_SERVICES_TEST_SERVER_H_
