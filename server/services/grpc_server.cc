// SPDX-License-Identifier: Apache-2.0
#include "server/services/grpc_server.h"

#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "server/life/log.h"
#include "server/life/tls_credentials.h"
#include "server/rpc/message.h"

namespace paligemma {
namespace {

constexpr int kNumThreads = 2;
constexpr std::int64_t kReceivedAtOnce = 8;  // messages of the largest size
constexpr std::int64_t kDefaultConnections = 4096;
// How long a peer may leave bytes or a keepalive ping without an acknowledgement.
constexpr std::chrono::milliseconds kUnacknowledged{20'000};
// What an answer may take beyond its call's deadline to leave.
constexpr Millis kAnswerTime{10'000};
constexpr char kServiceName[] = "paligemma.v1.PaliGemmaService";

// Writes gRPC's lines into our log, so that standard error holds one log. They are warnings, since
// gRPC also calls a client's fault an error, such as a handshake that fails.
void LogLibraryLine(gpr_log_func_args* args) { LogWarning(std::string("gRPC: ") + args->message); }

// Removes reflection, which gRPC adds to every builder as soon as its library is linked.
class WithoutReflection : public grpc::ServerBuilderOption {
 public:
  void UpdateArguments(grpc::ChannelArguments* /*arguments*/) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    std::erase_if(*plugins,
                  [](const auto& plugin) { return plugin->name() == "proto_server_reflection"; });
  }
};

int IntOf(Millis duration) {
  return static_cast<int>(std::min<std::int64_t>(duration.count(), INT32_MAX));
}

void SetChannelArguments(const ServerConfig& config, std::int64_t receive_limit,
                         grpc::ServerBuilder* builder) {
  // gRPC receives a message before it checks its size. The quota bounds the bytes received over all
  // calls: gRPC slows connections down and then closes some.
  grpc::ResourceQuota quota;
  quota.Resize(static_cast<size_t>(kReceivedAtOnce * receive_limit));
  builder->SetResourceQuota(quota);
  builder->SetMaxReceiveMessageSize(
      static_cast<int>(std::min<std::int64_t>(receive_limit, INT32_MAX)));
  builder->SetMaxSendMessageSize(-1);  // bounded by max_response_bytes
  // gRPC inflates a message before it checks its size. rpc::ParseMessage() bounds the size instead.
  builder->AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 256);
  // Metadata between our limit and this one is refused with our reason.
  builder->AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, 4 * kMaxCallMetadata);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kUnacknowledged.count());
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, 900'000);
  builder->AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 20'000);  // preface included
  if (config.max_connection_age.count() == 0) return;
  // gRPC draws each connection's age from a tenth below to a tenth above. The grace lets every call
  // end by itself.
  builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, IntOf(config.max_connection_age));
  builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS,
                              IntOf(config.max_deadline + kAnswerTime));
}

StatusOr<net::ConnectionBook::Limits> LimitsOf(const ServerConfig& config) {
  const std::int64_t affordable = net::AffordableConnections();
  if (config.max_connections > affordable) {
    return Status(StatusCode::kInvalidArgument,
                  "--max-connections is " + std::to_string(config.max_connections) +
                      "; the limit of file descriptors affords " + std::to_string(affordable));
  }
  net::ConnectionBook::Limits limits;
  limits.all = config.max_connections > 0 ? config.max_connections
                                          : std::min(affordable, kDefaultConnections);
  limits.per_peer = config.max_connections_per_peer > 0 ? config.max_connections_per_peer
                                                        : std::max<std::int64_t>(1, limits.all / 2);
  return limits;
}

ConnectionBound BoundOf(net::Refusal refusal) {
  switch (refusal) {
    case net::Refusal::kAll:
      return ConnectionBound::kAll;
    case net::Refusal::kPeer:
      return ConnectionBound::kPeer;
    case net::Refusal::kDescriptors:
      return ConnectionBound::kDescriptors;
  }
  return ConnectionBound::kAll;
}

// `connections` is where the acceptor hands over; it and `dependencies` outlive the acceptor.
StatusOr<std::unique_ptr<net::Acceptor>> MakeAcceptor(
    const ServiceDependencies& dependencies,
    grpc::experimental::ExternalConnectionAcceptor* connections) {
  net::Acceptor::Options options;
  PG_ASSIGN_OR_RETURN(options.limits, LimitsOf(*dependencies.config));
  options.limits.proxies = dependencies.trusted_proxies;
  options.heartbeats = dependencies.heartbeats;
  options.warn = [](const std::string& text) { LogWarning(text); };
  options.on_refused = [metrics = dependencies.metrics](net::Refusal refusal) {
    if (metrics != nullptr) metrics->ConnectionRefused(BoundOf(refusal));
  };
  options.take = [connections](int fd) {
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
    parameters.fd = fd;
    connections->HandleNewConnection(&parameters);
  };
  StatusOr<net::Listeners> listeners = net::Listen(dependencies.config->listen, kUnacknowledged);
  if (!listeners.ok()) {
    return Status(listeners.status().code(), "--listen: " + listeners.status().message());
  }
  return net::Acceptor::Create(*std::move(listeners), std::move(options));
}

}  // namespace

GrpcServer::GrpcServer(const ServiceDependencies& dependencies)
    : paligemma_(dependencies, &registry_),
      models_(dependencies, &registry_),
      unknown_(dependencies, &registry_) {}

StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(const ServiceDependencies& dependencies) {
  const ServerConfig& config = *dependencies.config;
  std::shared_ptr<grpc::ServerCredentials> credentials = grpc::InsecureServerCredentials();
  if (!config.tls_cert.empty()) {
    PG_ASSIGN_OR_RETURN(credentials, MakeTlsCredentials(config));
  }
  grpc::EnableDefaultHealthCheckService(true);
  rpc::TakeProtobufLog();
  gpr_set_log_function(LogLibraryLine);
  std::unique_ptr<GrpcServer> self(new GrpcServer(dependencies));
  self->credentials_ = credentials;
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  SetChannelArguments(config, dependencies.ReceiveLimit(), &builder);
  if (!config.reflection) builder.SetOption(std::make_unique<WithoutReflection>());
  using Connections = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
  self->connections_ = builder.experimental().AddExternalConnectionAcceptor(Connections::FROM_FD,
                                                                            std::move(credentials));
  PG_ASSIGN_OR_RETURN(self->acceptor_, MakeAcceptor(dependencies, self->connections_.get()));
  builder.RegisterService(self->paligemma_.service());
  builder.RegisterService(self->models_.service());
  builder.RegisterAsyncGenericService(self->unknown_.service());
  self->threads_ =
      std::make_unique<rpc::CompletionThreads>(&builder, kNumThreads, dependencies.heartbeats);
  self->server_ = builder.BuildAndStart();
  if (self->server_ == nullptr) return InternalError("gRPC did not start a server");
  self->SetHealth(dependencies.lifecycle->ready(), dependencies.lifecycle->live());
  self->paligemma_.Start(self->threads_->queues());
  self->models_.Start(self->threads_->queues());
  self->unknown_.Start(self->threads_->queues());
  self->threads_->Start();
  self->acceptor_->Start();
  return self;
}

GrpcServer::~GrpcServer() {
  if (server_ != nullptr) {
    if (!shutdown_thread_.joinable()) Shutdown(std::chrono::milliseconds(0));
    shutdown_thread_.join();
  }
  threads_.reset();
}

void GrpcServer::SetHealth(bool serving, bool live) {
  grpc::HealthCheckServiceInterface* const health = server_->GetHealthCheckService();
  for (const char* name : {"", kServiceName, "readiness"}) {
    health->SetServingStatus(name, serving);
  }
  health->SetServingStatus("liveness", live);
}

bool GrpcServer::Shutdown(std::chrono::milliseconds patience) {
  acceptor_->StopListening();
  shutdown_thread_ = std::thread(
      [this, deadline = std::chrono::system_clock::now() + patience] { RunShutdown(deadline); });
  const auto last = std::chrono::steady_clock::now() + patience + kCancelGrace;
  MutexLock lock(&mutex_);
  while (!calls_ended_) {
    if (!changed_.WaitUntil(&mutex_, last)) break;
  }
  return calls_ended_ && ended_in_time_;
}

void GrpcServer::RunShutdown(std::chrono::system_clock::time_point deadline) {
  // Waits for the calls, since gRPC would end a call without a waiter with a bare CANCELLED.
  // Cancels them after the deadline; each ends once the engine has released it.
  server_->Shutdown(deadline);
  const bool in_time = std::chrono::system_clock::now() < deadline;
  registry_.StopArming();
  registry_.WaitForNone();
  MutexLock lock(&mutex_);
  calls_ended_ = true;
  ended_in_time_ = in_time;
  changed_.NotifyAll();
}

}  // namespace paligemma
