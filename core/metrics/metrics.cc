// SPDX-License-Identifier: Apache-2.0
#include "core/metrics/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <map>
#include <sstream>
#include <utility>
#include <vector>

#include "core/metrics/process_metrics.h"

namespace paligemma {
namespace {

using prometheus::Counter;
using prometheus::Histogram;
using prometheus::Labels;
using Buckets = Histogram::BucketBoundaries;

// OpenTelemetry's and vLLM's boundaries, extended below 10 ms.
const Buckets kFirstTokenSeconds = {.001, .005, .01, .02, .04, .06, .08, .1, .25, .5,  .75,
                                    1,    2.5,  5,   7.5, 10,  20,  40,  80, 160, 640, 2560};
const Buckets kSeconds = {.001, .002, .005, .01,  .02,   .04,   .08,   .16,  .32,
                          .64,  1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92};
const Buckets kTokenSeconds = {.001, .0025, .005, .01, .025, .05, .075, .1, .15, .2, .3,
                               .4,   .5,    .75,  1,   2.5,  5,   7.5,  10, 20,  40, 80};
const Buckets kRpcSeconds = {.005, .01, .025, .05, .075, .1, .25, .5,
                             .75,  1,   2.5,  5,   7.5,  10, 30,  60};
const Buckets kTokenCounts = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000};
const Buckets kBatchSizes = {1, 2, 4, 8, 16, 32, 64, 128, 256};

constexpr std::array<std::string_view, 6> kPhases = {"queue",   "preprocess", "vision",
                                                     "prefill", "decode",     "postprocess"};
constexpr std::array<std::string_view, 6> kOutcomes = {"stop",      "max_tokens", "other",
                                                       "cancelled", "deadline",   "error"};
constexpr std::array<std::string_view, 7> kRejections = {
    "overloaded", "quota", "draining", "loading", "invalid", "too_large", "unauthorized"};
constexpr std::array<std::string_view, 3> kConnectionBounds = {"all", "peer", "descriptors"};
// gRPC's codes as go-grpc-middleware spells them; the index is the number.
constexpr std::array<std::string_view, 17> kCodes = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

double Seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

std::string_view OutcomeOf(const Status& status, const Answer& result) {
  if (status.code() == StatusCode::kCancelled) return "cancelled";
  if (status.code() == StatusCode::kDeadlineExceeded) return "deadline";
  if (!status.ok()) return "error";
  const FinishReason finish =
      result.candidates.empty() ? FinishReason::kNone : result.candidates.front().finish;
  if (finish == FinishReason::kStop) return "stop";
  return finish == FinishReason::kMaxTokens ? "max_tokens" : "other";
}

}  // namespace

struct Metrics::Impl {
  struct PerTask {
    Histogram *first_token, *inter_token, *per_token, *duration;
    std::map<std::string_view, Counter*> finished;
  };
  struct PerRpc {
    Counter *started, *received, *sent;
    Histogram* handling;
    std::array<Counter*, kCodes.size()> handled;
  };

  explicit Impl(const MetricsInfo& info) : model(info.model) {
    AddInfo(info);
    AddRequests();
    AddSteps();
    AddConnections();
    for (const MetricsInfo::Rpc& rpc : info.rpcs) AddRpc(rpc);
    AddRpc({"other", "other", "other"});
  }

  Counter& AddCounter(const std::string& name, const std::string& help, const Labels& labels = {}) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add(labels);
  }
  Histogram& AddHistogram(const std::string& name, const std::string& help, const Buckets& buckets,
                          const Labels& labels = {}) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add(labels,
                                                                                     buckets);
  }
  prometheus::Gauge& AddGauge(const std::string& name, const std::string& help,
                              const Labels& labels = {}) {
    return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add(labels);
  }

  void AddInfo(const MetricsInfo& info) {
    dtype = info.dtype;
    AddGauge("paligemma_build_info", "Version of the server; always 1",
             {{"version", info.version},
              {"revision", info.commit},
              {"torch", info.torch},
              {"cuda", info.cuda}})
        .Set(1);
    // Routers that know adapters look for this metric. This server has no adapters.
    adapters = &AddGauge(
        "paligemma_lora_requests_info", "Adapters in use; its value is the scrape's time",
        {{"max_lora", "0"}, {"running_lora_adapters", ""}, {"waiting_lora_adapters", ""}});
    AddGauge("paligemma_model_info", "The model that is served; always 1",
             {{"model", info.model},
              {"revision", info.revision},
              {"dtype", info.dtype},
              {"device", info.device}})
        .Set(1);
    waiting = &AddGauge("paligemma_requests_waiting", "Requests without a first token");
    running = &AddGauge("paligemma_requests_running", "Requests that produce tokens");
    log_lines_dropped = &AddCounter("paligemma_log_lines_dropped_total",
                                    "Lines of the log that nobody read in time");
    kv_usage = &AddGauge("paligemma_kv_cache_usage_ratio", "Used share of the KV blocks, 0 to 1");
  }

  void AddRequests() {
    for (const TaskTraits& traits : kTasks) {
      const Labels labels = {{"model", model}, {"method", std::string(traits.name)}};
      PerTask& entry = tasks[traits.task];
      entry.first_token =
          &AddHistogram("paligemma_time_to_first_token_seconds", "Arrival to first output token",
                        kFirstTokenSeconds, labels);
      entry.inter_token =
          &AddHistogram("paligemma_inter_token_latency_seconds",
                        "Time between two tokens of a stream, as delivered", kTokenSeconds, labels);
      entry.per_token =
          &AddHistogram("paligemma_time_per_output_token_seconds",
                        "Decode time of a request over its tokens", kTokenSeconds, labels);
      entry.duration = &AddHistogram("paligemma_request_duration_seconds", "Arrival to response",
                                     kSeconds, labels);
      for (const std::string_view outcome : kOutcomes) {
        Labels with_reason = labels;
        with_reason.emplace("reason", outcome);
        entry.finished[outcome] =
            &AddCounter("paligemma_requests_finished_total",
                        "Accepted requests that ended, by why they did", with_reason);
      }
    }
    for (const std::string_view phase : kPhases) {
      phases[phase] =
          &AddHistogram("paligemma_request_phase_duration_seconds", "Where a request's time went",
                        kSeconds, {{"phase", std::string(phase)}});
    }
    for (std::size_t i = 0; i < kRejections.size(); ++i) {
      rejected[i] =
          &AddCounter("paligemma_requests_rejected_total", "Requests that were never accepted",
                      {{"reason", std::string(kRejections[i])}});
    }
    request_prompt_tokens =
        &AddHistogram("paligemma_request_prompt_tokens",
                      "Prompt tokens of a request, image included", kTokenCounts);
    request_output_tokens = &AddHistogram("paligemma_request_output_tokens",
                                          "Generated tokens of a request", kTokenCounts);
    prompt_tokens = &AddCounter("paligemma_prompt_tokens_total", "Prompt tokens, image included");
    output_tokens = &AddCounter("paligemma_output_tokens_total", "Generated tokens");
    unread_tokens = &AddCounter("paligemma_deadline_exceeded_tokens_total",
                                "Tokens generated for answers that came too late");
  }

  void AddConnections() {
    connections = &AddGauge("paligemma_connections_open", "Connections to the gRPC port");
    for (std::size_t i = 0; i < kConnectionBounds.size(); ++i) {
      refused_connections[i] =
          &AddCounter("paligemma_connections_refused_total",
                      "Connections to the gRPC port that were closed at once, by the bound",
                      {{"reason", std::string(kConnectionBounds[i])}});
    }
  }

  void AddSteps() {
    const std::string help = "Rows (vision: images) of a step";
    vision_batch = &AddHistogram("paligemma_batch_size", help, kBatchSizes, {{"phase", "vision"}});
    prefill_batch =
        &AddHistogram("paligemma_batch_size", help, kBatchSizes, {{"phase", "prefill"}});
    decode_batch = &AddHistogram("paligemma_batch_size", help, kBatchSizes, {{"phase", "decode"}});
    // Stays 0, since no prefix is shared: a prompt is prefilled whole and attends to its own
    // picture.
    AddCounter("paligemma_prefix_cache_queries_total", "Prompts looked up in a prefix cache");
    AddCounter("paligemma_prefix_cache_hits_total", "Prompts that a prefix cache had");
    preemptions = &AddCounter("paligemma_preemptions_total", "Sequences that lost their KV blocks");
    cache_queries = &AddCounter("paligemma_vision_cache_queries_total",
                                "Images that were looked up in the image cache");
    cache_hits =
        &AddCounter("paligemma_vision_cache_hits_total", "Images that the image cache had");
  }

  void AddRpc(const MetricsInfo::Rpc& rpc) {
    const Labels labels = {
        {"grpc_service", rpc.service}, {"grpc_method", rpc.method}, {"grpc_type", rpc.type}};
    PerRpc& entry = rpcs[{rpc.service, rpc.method}];
    entry.started = &AddCounter("grpc_server_started_total", "RPCs that began", labels);
    entry.received =
        &AddCounter("grpc_server_msg_received_total", "Messages that were received", labels);
    entry.sent = &AddCounter("grpc_server_msg_sent_total", "Messages that were sent", labels);
    entry.handling =
        &AddHistogram("grpc_server_handling_seconds", "Duration of RPCs", kRpcSeconds, labels);
    for (std::size_t code = 0; code < kCodes.size(); ++code) {
      Labels with_code = labels;
      with_code.emplace("grpc_code", kCodes[code]);
      entry.handled[code] =
          &AddCounter("grpc_server_handled_total", "RPCs that ended, by code", with_code);
    }
  }

  PerRpc& RpcOf(std::string_view service, std::string_view method) {
    const auto it = rpcs.find({std::string(service), std::string(method)});
    return it != rpcs.end() ? it->second : rpcs.at({"other", "other"});
  }

  const std::string model;
  std::string dtype;
  prometheus::Registry registry;
  Counter* log_lines_dropped;
  prometheus::Gauge *waiting, *running, *kv_usage, *adapters;
  std::map<Task, PerTask> tasks;
  std::map<std::string_view, Histogram*> phases;
  std::array<Counter*, kRejections.size()> rejected{};
  std::array<Counter*, kConnectionBounds.size()> refused_connections{};
  prometheus::Gauge* connections = nullptr;
  Histogram *request_prompt_tokens, *request_output_tokens;
  Counter *prompt_tokens, *output_tokens, *unread_tokens;
  Histogram *vision_batch, *prefill_batch, *decode_batch;
  Counter *preemptions, *cache_queries, *cache_hits;
  std::map<std::pair<std::string, std::string>, PerRpc> rpcs;
};

Metrics::Metrics(const MetricsInfo& info) : impl_(std::make_unique<Impl>(info)) {}
Metrics::~Metrics() = default;

void Metrics::RequestFinished(Task task, const Status& status, const Answer& result) {
  const std::string_view outcome = OutcomeOf(status, result);
  Impl::PerTask& entry = impl_->tasks.at(task);
  entry.finished.at(outcome)->Increment();
  const RequestTiming& timing = result.timing;
  entry.duration->Observe(Seconds(timing.total));
  const std::array<Duration, kPhases.size()> spent = {timing.queue,  timing.preprocess,
                                                      timing.vision, timing.prefill,
                                                      timing.decode, timing.postprocess};
  for (std::size_t i = 0; i < kPhases.size(); ++i) {
    impl_->phases.at(kPhases[i])->Observe(Seconds(spent[i]));
  }
  const RequestUsage& usage = result.usage;
  impl_->request_prompt_tokens->Observe(usage.prompt_tokens);
  impl_->request_output_tokens->Observe(usage.output_tokens);
  impl_->prompt_tokens->Increment(usage.prompt_tokens);
  impl_->output_tokens->Increment(usage.output_tokens);
  if (outcome == "deadline") impl_->unread_tokens->Increment(usage.output_tokens);
  if (usage.output_tokens > 0) entry.first_token->Observe(Seconds(timing.first_token));
  if (usage.output_tokens > 1) {
    entry.per_token->Observe(Seconds(timing.decode) / (usage.output_tokens - 1));
  }
}

void Metrics::RequestRejected(Rejection rejection) {
  impl_->rejected[static_cast<std::size_t>(rejection)]->Increment();
}

void Metrics::TokensDelivered(Task task, Duration since_last, int num_tokens) {
  Histogram& histogram = *impl_->tasks.at(task).inter_token;
  for (int i = 0; i < num_tokens; ++i) histogram.Observe(Seconds(since_last) / num_tokens);
}

void Metrics::RpcStarted(std::string_view service, std::string_view method) {
  impl_->RpcOf(service, method).started->Increment();
}

void Metrics::RpcHandled(std::string_view service, std::string_view method, int code,
                         Duration duration) {
  Impl::PerRpc& rpc = impl_->RpcOf(service, method);
  const auto index = static_cast<std::size_t>(code);
  rpc.handled[index < kCodes.size() ? index : 2]->Increment();
  rpc.handling->Observe(Seconds(duration));
}

void Metrics::RpcMessage(std::string_view service, std::string_view method, bool sent) {
  Impl::PerRpc& rpc = impl_->RpcOf(service, method);
  (sent ? rpc.sent : rpc.received)->Increment();
}

void Metrics::OnStep(const StepStats& stats) {
  (stats.prefill ? impl_->prefill_batch : impl_->decode_batch)->Observe(stats.num_rows);
  if (stats.num_images == 0) return;
  impl_->cache_queries->Increment(stats.num_images);
  impl_->cache_hits->Increment(stats.num_cached_images);
  const int encoded = stats.num_images - stats.num_cached_images;
  if (encoded > 0) impl_->vision_batch->Observe(encoded);
}

void Metrics::OnPreemptions(int count) { impl_->preemptions->Increment(count); }

void Metrics::ConnectionRefused(ConnectionBound bound) {
  impl_->refused_connections[static_cast<std::size_t>(bound)]->Increment();
}

std::string Metrics::ExportText(const MetricsGauges& gauges) {
  impl_->adapters->SetToCurrentTime();
  if (gauges.tls_certificate_expiry > 0) {
    impl_
        ->AddGauge("paligemma_tls_certificate_expiry_timestamp_seconds",
                   "When the server's certificate ends, since 1970")
        .Set(gauges.tls_certificate_expiry);
  }
  impl_->log_lines_dropped->Increment(static_cast<double>(gauges.log_lines_dropped) -
                                      impl_->log_lines_dropped->Value());
  impl_->waiting->Set(gauges.requests_waiting);
  impl_->connections->Set(static_cast<double>(gauges.connections_open));
  impl_->running->Set(gauges.requests_running);
  impl_->kv_usage->Set(gauges.kv_blocks_total == 0
                           ? 0
                           : static_cast<double>(gauges.kv_blocks_used) / gauges.kv_blocks_total);
  if (gauges.kv_blocks_total > 0) {
    impl_
        ->AddGauge("paligemma_cache_config_info", "Geometry of the KV cache; always 1",
                   {{"block_size", std::to_string(gauges.kv_block_size)},
                    {"num_gpu_blocks", std::to_string(gauges.kv_blocks_total)},
                    {"dtype", impl_->dtype}})
        .Set(1);
  }
  std::ostringstream text;
  std::vector<prometheus::MetricFamily> families = impl_->registry.Collect();
  for (prometheus::MetricFamily& family : ProcessMetrics().Collect()) {
    families.push_back(std::move(family));
  }
  prometheus::TextSerializer().Serialize(text, families);
  return text.str();
}

}  // namespace paligemma
