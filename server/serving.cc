// SPDX-License-Identifier: Apache-2.0
#include "server/serving.h"

#include <malloc.h>

#include <optional>
#include <utility>

#include "core/host/load_model.h"
#include "server/life/drain.h"
#include "server/life/log.h"
#include "server/life/tls_files.h"
#include "server/self_description.h"

namespace paligemma {
namespace {

double SecondsSince(TimePoint start) {
  return std::chrono::duration<double>(Clock::Real()->Now() - start).count();
}

ManagementServer::Probe Say(bool good) { return {good, good ? "ok\n" : "no\n"}; }

std::string Rounded(double value) {
  std::string text = std::to_string(value);
  return text.substr(0, text.find('.') + 3);
}

// "127.0.0.1:0" as "127.0.0.1:41234".
std::string WithPort(const std::string& address, int port) {
  return address.substr(0, address.rfind(':') + 1) + std::to_string(port);
}

}  // namespace

Serving::Serving(const ServerConfig& config, const DeviceChoice& device, const Manifest& manifest,
                 std::unique_ptr<AuthTokens> tokens, Heartbeats* heartbeats)
    : config_(config),
      device_(device),
      heartbeats_(heartbeats),
      model_(std::make_unique<ServedModel>(manifest, ModelName(manifest, config.host))),
      log_(config),
      tokens_(std::move(tokens)),
      metrics_(std::make_unique<Metrics>(DescribeForMetrics(manifest, model_->name(), device))),
      trimmer_(ResidentBytes, [] { malloc_trim(0); }) {
  HostOptions options = config.host;
  options.runner.device = device.device;
  options.dispatcher.heartbeats = heartbeats;
  host_ = std::make_shared<ModelHost>(config.model, model_->manifest(), options, metrics_.get());
  dependencies_ = {&config_,       &lifecycle_,   model_.get(), &log_,
                   metrics_.get(), tokens_.get(), heartbeats_};
  dependencies_.trusted_proxies =
      net::ParseRanges(config_.trusted_proxies).value_or(std::vector<net::IpRange>());
}

Serving::~Serving() {
  watchdog_.reset();
  grpc_.reset();
  management_.reset();
  model_->SetLoaded({});  // its share of the host
  host_.reset();
}

StatusOr<std::unique_ptr<Serving>> Serving::Create(const ServerConfig& config,
                                                   const DeviceChoice& device,
                                                   Heartbeats* heartbeats) {
  PG_ASSIGN_OR_RETURN(const Manifest manifest, LoadManifest(config.model));
  std::unique_ptr<AuthTokens> tokens;
  if (!config.auth_tokens_file.empty()) {
    PG_ASSIGN_OR_RETURN(tokens, AuthTokens::Load(config.auth_tokens_file));
    if (config.tls_cert.empty()) {
      LogWarning("--auth-tokens-file without --tls-cert: tokens cross the network as plain text");
    }
  }
  return std::unique_ptr<Serving>(
      new Serving(config, device, manifest, std::move(tokens), heartbeats));
}

std::string Serving::MetricsText() {
  const DispatcherStats stats = host_->Stats();
  MetricsGauges gauges;
  gauges.requests_waiting = stats.queued;
  gauges.requests_running = stats.running;
  gauges.kv_blocks_used = stats.engine.blocks_used;
  gauges.kv_blocks_total = stats.engine.blocks_total;
  gauges.kv_block_size = stats.engine.block_size;
  gauges.log_lines_dropped = NumDroppedLogLines();
  gauges.connections_open = grpc_ == nullptr ? 0 : grpc_->num_connections();
  gauges.tls_certificate_expiry = static_cast<double>(CertificateExpiry());
  return metrics_->ExportText(gauges);
}

std::int64_t Serving::CertificateExpiry() {
  if (config_.tls_cert.empty()) return 0;
  if (const auto files = ReadTlsFiles(config_); files.ok()) certificate_expiry_ = files->expiry;
  return certificate_expiry_;
}

Status Serving::Bind() {
  ManagementServer::Pages pages;
  pages.metrics = [this] { return MetricsText(); };
  pages.configz = [this] { return ConfigToJson(config_); };
  pages.live = [this] { return Liveness(); };
  pages.ready = [this] { return Say(lifecycle_.ready()); };
  PG_ASSIGN_OR_RETURN(management_, ManagementServer::Start(config_.http_listen, std::move(pages)));
  PG_ASSIGN_OR_RETURN(grpc_, GrpcServer::Start(dependencies_));
  LogInfo("listening: gRPC " + config_.listen + " (port " + std::to_string(grpc_->port()) +
          "), HTTP " + config_.http_listen + " (port " + std::to_string(management_->port()) +
          "); loading the model");
  return OkStatus();
}

Status Serving::Load() {
  const TimePoint start = Clock::Real()->Now();
  PG_RETURN_IF_ERROR(LoadModel(host_.get()));
  model_->SetLoaded(LoadedOf(host_, device_.device.ToString()));
  LogModel(*host_, device_);
  LogInfo("ready in " + Rounded(SecondsSince(start)) + " s (loading " +
          Rounded(host_->Summary().load_seconds) + " s): gRPC " +
          WithPort(config_.listen, grpc_->port()) + ", HTTP " +
          WithPort(config_.http_listen, management_->port()));
  SetPhase(Phase::kReady);
  StartWatchdog();
  return OkStatus();
}

void Serving::StartWatchdog() {
  if (config_.watchdog_timeout.count() == 0) return;
  Watchdog::Options options;
  options.timeout = config_.watchdog_timeout;
  options.heartbeats = heartbeats_;
  options.is_idle = [this] { return !host_->Stats().engine.busy; };
  options.on_idle = [this] { trimmer_.OnIdle(); };
  options.on_stuck = [this](const std::vector<Heartbeats::Late>& late) {
    if (lifecycle_.live()) {
      SetStalled(true);
      LogError("the server fails its liveness probe: " + Describe(late));
    }
    // Clients that wait may ask another server; so may those whose requests were being prepared.
    host_->EndAll();
  };
  options.on_recovered = [this] {
    LogWarning("every thread makes progress again: the server is alive");
    SetStalled(false);
  };
  watchdog_ = std::make_unique<Watchdog>(std::move(options));
  watchdog_->Start();
}

// Reads the heartbeats itself, since a watchdog that hangs would report nothing.
ManagementServer::Probe Serving::Liveness() const {
  std::vector<Heartbeats::Late> late;
  if (config_.watchdog_timeout.count() > 0) late = heartbeats_->Overdue(config_.watchdog_timeout);
  ManagementServer::Probe probe = Say(lifecycle_.live() && IsLive(late));
  probe.text += Describe(late);
  return probe;
}

void Serving::SetPhase(Phase phase) {
  MutexLock lock(&mutex_);
  lifecycle_.Advance(phase);
  grpc_->SetHealth(lifecycle_.ready(), lifecycle_.live());
}

void Serving::SetStalled(bool stalled) {
  MutexLock lock(&mutex_);
  lifecycle_.SetStalled(stalled);
  grpc_->SetHealth(lifecycle_.ready(), lifecycle_.live());
}

void Serving::Abandon() {
  SetPhase(Phase::kDraining);
  grpc_->Shutdown(Millis(0));
}

bool Serving::Drain(const SignalWait& signal) {
  SetPhase(Phase::kLeaving);
  LogInfo("draining: not ready, accepting for another " + FormatDuration(config_.drain_delay));
  const bool hurry = signal(config_.drain_delay);
  SetPhase(Phase::kDraining);
  DrainParts parts;
  parts.drain_engine = [this](TimePoint end) { return host_->Drain(end); };
  parts.shut_transport = [this](Millis patience) { return grpc_->Shutdown(patience); };
  parts.end_requests = [this] { host_->EndAll(); };
  parts.cancel_calls = [this] { grpc_->CancelCalls(); };
  const auto patience = hurry ? std::nullopt : std::optional<Millis>(config_.drain_timeout);
  const bool drained = RunDrain(std::move(parts), patience, signal);
  LogInfo(drained ? "drained" : "drained; some calls had to be ended");
  return drained;
}

}  // namespace paligemma
