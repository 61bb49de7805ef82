// SPDX-License-Identifier: Apache-2.0
// The server over gRPC beside its own engine called directly, in turns, on one bundle in one
// process: what streams cost, and what the transport adds. Every request sends one picture, which
// is encoded anew, and takes the same number of tokens.
//
// --model=DIR (models/demo), --picture=FILE (its beach), --streams=1,4,16,64, --tokens=20,
// --requests=4 (of each stream in a round), --rounds=5, --threads=N (all cores), --kv-cache-dtype=.
#include <sys/resource.h>

#include <atomic>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <thread>

#include "benchmarks/report.h"
#include "client/client.h"
#include "core/base/mutex.h"
#include "core/host/load_model.h"
#include "server/life/log.h"
#include "server/services/grpc_server.h"

namespace paligemma::bench {
namespace {

double Seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }
TimePoint Now() { return Clock::Real()->Now(); }

// Of this process: client, server and engine together.
double CpuSeconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) { return time.tv_sec + time.tv_usec * 1e-6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Question {
  std::string picture, prompt = "caption en";
  int tokens = 20;
};

// What the engine did since it began. Thread safe.
struct StepCounts : EngineObserver {
  void OnStep(const StepStats& stats) override {
    ++steps;
    model_ns += (stats.vision + stats.model).count();
  }
  std::atomic<std::int64_t> steps{0}, model_ns{0};
};

ServerConfig ConfigOf(const std::string& directory, const std::string& kv_dtype, int num_threads) {
  ServerConfig config;
  config.model = directory;
  config.listen = "127.0.0.1:0";
  config.log_level = "warn";
  config.host.num_threads = num_threads;
  config.host.allow_ignore_eos = true;
  config.host.runner.kv_dtype = kv_dtype;
  return config;
}

// A model's host for callers in this process, and gRPC in front of the same host.
class ServedHost {
 public:
  // Takes seconds. Errors are one line.
  static StatusOr<std::unique_ptr<ServedHost>> Load(const ServerConfig& config) {
    std::unique_ptr<ServedHost> served(new ServedHost(config));
    PG_ASSIGN_OR_RETURN(served->host_, ModelHost::Open(config.model, config.host, &served->steps_));
    PG_RETURN_IF_ERROR(LoadModel(served->host_.get()));
    PG_RETURN_IF_ERROR(served->Serve());
    return served;
  }
  ~ServedHost() {
    grpc_.reset();
    if (model_ != nullptr) model_->SetLoaded({});  // its share of the host
  }

  ModelHost& host() { return *host_; }
  const StepCounts& steps() const { return steps_; }
  std::string address() const { return "127.0.0.1:" + std::to_string(grpc_->port()); }

 private:
  explicit ServedHost(const ServerConfig& config) : config_(config), log_(config) {}

  Status Serve() {
    model_ = std::make_unique<ServedModel>(host_->manifest(), host_->name());
    model_->SetLoaded(LoadedOf(host_, "cpu"));
    dependencies_ = {&config_, &lifecycle_, model_.get(), &log_, nullptr};
    PG_ASSIGN_OR_RETURN(grpc_, GrpcServer::Start(dependencies_));
    lifecycle_.Advance(Phase::kReady);
    grpc_->SetHealth(lifecycle_.ready(), lifecycle_.live());
    return OkStatus();
  }

  const ServerConfig config_;
  Lifecycle lifecycle_;
  AccessLog log_;
  StepCounts steps_;
  std::shared_ptr<ModelHost> host_;
  std::unique_ptr<ServedModel> model_;
  ServiceDependencies dependencies_;
  std::unique_ptr<GrpcServer> grpc_;
};

// One answered request.
struct Reply {
  double first_token = 0;  // seconds
  int tokens = 0;
};

// One closed loop of several streams.
struct Load {
  std::vector<double> first_tokens;
  double seconds = 0, cpu_seconds = 0, tokens = 0, requests = 0, model_seconds = 0, steps = 0;
};

class Waiter : public ResponseSink {
 public:
  explicit Waiter(TimePoint sent) : sent_(sent) {}
  void OnDelta(AnswerDelta) override {
    if (answer_.first_token == 0) answer_.first_token = Seconds(Now() - sent_);
  }
  void OnDone(Status status, Answer result) override {
    MutexLock lock(&mutex_);
    answer_.tokens = status.ok() ? result.usage.output_tokens : 0;
    done_ = true;
    changed_.NotifyAll();
  }
  Reply Wait() {
    MutexLock lock(&mutex_);
    while (!done_) changed_.Wait(&mutex_);
    return answer_;
  }

 private:
  const TimePoint sent_;
  Reply answer_;
  Mutex mutex_;
  CondVar changed_;
  bool done_ PG_GUARDED_BY(mutex_) = false;
};

Reply AskEngine(ModelHost* host, const Question& question) {
  Request request;
  request.images.emplace_back().encoded = question.picture;
  request.text = question.prompt;
  request.max_tokens = question.tokens;
  request.sampling.ignore_eos = true;
  request.use_cache = false;
  request.arrival = Now();
  const auto sink = std::make_shared<Waiter>(request.arrival);
  return host->Submit(std::move(request), sink).ok() ? sink->Wait() : Reply();
}

Reply AskServer(client::Client* client, const Question& question) {
  v1::TaskRequest request;
  v1::GenerateRequest& generate = *request.mutable_generate();
  generate.add_images()->set_content(question.picture);
  generate.set_prompt(question.prompt);
  generate.mutable_generation_config()->set_max_output_tokens(question.tokens);
  generate.mutable_generation_config()->set_ignore_eos(true);
  generate.mutable_options()->set_cache_policy(v1::CACHE_POLICY_BYPASS);
  Reply answer;
  const TimePoint sent = Now();
  const auto response = client->Stream(request, [&](const v1::StreamGenerateResponse&) {
    if (answer.first_token == 0) answer.first_token = Seconds(Now() - sent);
    return true;
  });
  if (response.ok()) {
    answer.tokens = response->generate().info().usage().output_token_count();
  } else {
    std::cerr << response.status().ToString() << "\n";
  }
  return answer;
}

template <typename Ask>
Load Run(const ServedHost& served, int streams, int requests, const Ask& ask) {
  const StepCounts& steps = served.steps();
  Load load;
  Mutex mutex;
  const double cpu = CpuSeconds(), model = steps.model_ns * 1e-9, before = steps.steps;
  const TimePoint start = Now();
  {
    std::vector<std::jthread> clients;
    for (int stream = 0; stream < streams; ++stream) {
      clients.emplace_back([&] {
        for (int i = 0; i < requests; ++i) {
          const Reply answer = ask();
          MutexLock lock(&mutex);
          load.first_tokens.push_back(answer.first_token);
          load.tokens += answer.tokens;
          load.requests += answer.tokens > 0 ? 1 : 0;
        }
      });
    }
  }
  load.seconds = Seconds(Now() - start);
  load.cpu_seconds = CpuSeconds() - cpu;
  load.model_seconds = steps.model_ns * 1e-9 - model;
  load.steps = steps.steps - before;
  return load;
}

// The figures of one number of streams.
class Table {
 public:
  explicit Table(int streams)
      : rows_{
            Named(streams, "tokens/s", "1/s", false), Named(streams, "requests/s", "1/s", false),
            Named(streams, "first token, median", "ms", true),
            Named(streams, "gRPC's CPU for a token, its client's included", "us", true),
            Named(streams, "the engine's time outside of the model, pictures included, for a step",
                  "us", true)} {
    rows_[3].reference_name = rows_[4].reference_name = "";
  }

  void Add(const Load& server, const Load& engine) {
    Keep(0, server.tokens / server.seconds, engine.tokens / engine.seconds);
    Keep(1, server.requests / server.seconds, engine.requests / engine.seconds);
    Keep(2, 1e3 * Median(server.first_tokens), 1e3 * Median(engine.first_tokens));
    rows_[3].ours.push_back(
        1e6 * (server.cpu_seconds / server.tokens - engine.cpu_seconds / engine.tokens));
    rows_[4].ours.push_back(1e6 * (engine.seconds - engine.model_seconds) / engine.steps);
  }
  void AddTo(Report* report) const {
    for (const Row& row : rows_) report->Add(row);
  }

 private:
  static Row Named(int streams, const std::string& what, const char* unit, bool small) {
    return {std::to_string(streams) + (streams == 1 ? " stream: " : " streams: ") + what,
            unit,
            {},
            {},
            "the engine alone",
            "",
            small};
  }
  void Keep(int row, double server, double engine) {
    rows_[row].ours.push_back(server);
    rows_[row].reference.push_back(engine);
  }
  std::vector<Row> rows_;
};

std::string Or(std::string value, const char* otherwise) {
  return value.empty() ? otherwise : value;
}

std::string FileContent(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

int Fail(const std::string& message) {
  std::cerr << "server_bench: " << message << "\n";
  return 1;
}

int Main(int argc, char** argv) {
  const auto option = [&](const char* name, const char* otherwise) {
    return Or(OptionValue(argc, argv, name), otherwise);
  };
  const int num_threads =
      std::stoi(option("--threads=", std::to_string(std::thread::hardware_concurrency()).c_str()));
  const ServerConfig config =
      ConfigOf(option("--model=", "models/demo"), option("--kv-cache-dtype=", "auto"), num_threads);
  SetUpLogging(config.log_format, config.log_level);
  Question question;
  question.picture = FileContent(option("--picture=", "models/demo/demo/beach.png"));
  question.tokens = std::stoi(option("--tokens=", "20"));
  if (question.picture.empty()) return Fail("--picture= names no file");
  const int requests = std::stoi(option("--requests=", "4"));
  const int rounds = std::stoi(option("--rounds=", "5"));

  auto served = ServedHost::Load(config);
  if (!served.ok()) return Fail(served.status().ToString());
  client::ClientOptions connection;
  connection.server = (*served)->address();
  connection.timeout = std::chrono::minutes(5);
  const auto client = client::Client::Create(connection);
  if (!client.ok()) return Fail(client.status().ToString());

  Report report("server", (*served)->host().Summary().cpu_isa, num_threads, argc, argv);
  std::stringstream list(option("--streams=", "1,4,16,64"));
  for (std::string streams; std::getline(list, streams, ',');) {
    Table table(std::stoi(streams));
    for (int round = 0; round < rounds; ++round) {
      const Load engine = Run(**served, std::stoi(streams), requests,
                              [&] { return AskEngine(&(*served)->host(), question); });
      const Load server = Run(**served, std::stoi(streams), requests,
                              [&] { return AskServer(client->get(), question); });
      if (engine.tokens != server.tokens || server.tokens == 0) {
        return Fail("requests failed, or ended early");
      }
      table.Add(server, engine);
    }
    table.AddTo(&report);
  }
  return report.Finish() ? 0 : 1;
}

}  // namespace
}  // namespace paligemma::bench

int main(int argc, char** argv) { return paligemma::bench::Main(argc, argv); }
