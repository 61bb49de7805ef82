// SPDX-License-Identifier: Apache-2.0
#include "client/bench.h"

#include <algorithm>
#include <atomic>
#include <iostream>
#include <mutex>
#include <random>
#include <sstream>
#include <thread>

#include "client/bench_report.h"
#include "client/run.h"

namespace paligemma::client {
namespace {

using BenchClock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr int kOpenLoopWorkers = 256;  // calls that may be in flight

struct Share {
  v1::TaskRequest task;
  double weight = 0;
};

StatusOr<std::vector<Share>> ReadMix(const Arguments& arguments, const BenchOptions& options) {
  PG_ASSIGN_OR_RETURN(const std::vector<std::string> names, ExpandImages(arguments.positional));
  std::vector<InputImage> images;
  for (const std::string& name : names) {
    PG_ASSIGN_OR_RETURN(InputImage image, ReadImage(name));
    images.push_back(std::move(image));
  }
  std::vector<Share> shares;
  std::stringstream mix(options.mix);
  std::string part;
  while (std::getline(mix, part, ',')) {
    const size_t equal = part.find('=');
    Arguments one = arguments;
    one.command = part.substr(0, equal);
    const bool known = one.command == "caption" || one.command == "answer" ||
                       one.command == "detect" || one.command == "segment" ||
                       one.command == "read" || one.command == "generate";
    const double weight = equal == std::string::npos ? 1 : std::atof(part.c_str() + equal + 1);
    if (!known || !(weight > 0)) {
      return Status(StatusCode::kInvalidArgument,
                    "--mix: write caption=0.5,answer=0.5; wrong is " + part);
    }
    const std::string& text = one.command == "answer"     ? options.question
                              : one.command == "generate" ? options.prompt
                                                          : options.labels;
    for (const InputImage& image : images) {
      PG_ASSIGN_OR_RETURN(v1::TaskRequest task, MakeTask(one, text, {image}));
      shares.push_back({std::move(task), weight / static_cast<double>(images.size())});
    }
  }
  return shares;
}

const v1::GenerationInfo& InfoOf(const v1::TaskResponse& response) {
  if (response.has_answer()) return response.answer().info();
  if (response.has_detect()) return response.detect().info();
  if (response.has_segment()) return response.segment().info();
  if (response.has_read_text()) return response.read_text().info();
  if (response.has_generate()) return response.generate().info();
  return response.caption().info();
}

class Bench {
 public:
  Bench(Client* client, std::vector<Share> shares, const BenchOptions& options)
      : client_(client), shares_(std::move(shares)), options_(options), start_(BenchClock::now()) {
    std::vector<double> weights;
    for (const Share& share : shares_) weights.push_back(share.weight);
    pick_ = std::discrete_distribution<size_t>(weights.begin(), weights.end());
    generator_.seed(options.seed);
  }

  BenchReport Run(int concurrency) {
    const bool open = options_.rate > 0;
    const auto end = start_ + options_.warmup + options_.duration;
    std::vector<std::thread> workers;
    for (int i = 0; i < (open ? kOpenLoopWorkers : concurrency); ++i) {
      workers.emplace_back([this, open, end] {
        for (Turn turn = Next(open); turn.when < end; turn = Next(open)) Send(turn);
      });
    }
    for (std::thread& worker : workers) worker.join();
    BenchReport report;
    std::ostringstream mode;
    if (open) {
      mode << "open loop, " << options_.rate << " requests/s";
    } else {
      mode << "closed loop, " << concurrency << " clients";
    }
    report.mode = mode.str();
    report.seconds = std::max(Seconds(BenchClock::now() - start_ - options_.warmup).count(), 0.001);
    report.samples = std::move(samples_);
    return report;
  }

 private:
  struct Turn {
    BenchClock::time_point when;
    size_t share = 0;
  };

  Turn Next(bool open) {
    const std::lock_guard<std::mutex> lock(mutex_);
    Turn turn{BenchClock::now(), pick_(generator_)};
    if (!open) return turn;
    std::exponential_distribution<double> gap(options_.rate);
    next_arrival_ += gap(generator_);
    turn.when = start_ + std::chrono::duration_cast<BenchClock::duration>(Seconds(next_arrival_));
    return turn;
  }

  void Send(const Turn& turn) {
    std::this_thread::sleep_until(turn.when);
    const auto sent = BenchClock::now();
    const auto response = client_->Call(shares_[turn.share].task);
    const auto done = BenchClock::now();
    if (turn.when < start_ + options_.warmup) return;
    BenchSample sample;
    sample.from_schedule_seconds = Seconds(done - turn.when).count();
    sample.from_send_seconds = Seconds(done - sent).count();
    if (response.ok()) {
      sample.num_tokens = InfoOf(*response).usage().output_token_count();
      sample.num_images = InfoOf(*response).usage().image_count();
    } else {
      const Status status = response.status();
      sample.error = std::string(StatusCodeName(status.code())) + " " + ReasonOf(status);
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    samples_.push_back(std::move(sample));
  }

  Client* const client_;
  const std::vector<Share> shares_;
  const BenchOptions options_;
  const BenchClock::time_point start_;
  std::mutex mutex_;  // of what follows
  std::discrete_distribution<size_t> pick_;
  std::mt19937_64 generator_;
  double next_arrival_ = 0;
  std::vector<BenchSample> samples_;
};

}  // namespace

int RunBench(const Arguments& arguments, const BenchOptions& options) {
  auto shares = ReadMix(arguments, options);
  auto client = Client::Create(arguments.client);
  for (const Status& status : {shares.status(), client.status()}) {
    if (status.ok()) continue;
    std::cerr << "paligemma: " << status.message() << std::endl;
    return kWrongUsage;
  }
  const BenchReport report =
      Bench(client->get(), *std::move(shares), options).Run(arguments.concurrency);
  std::cout << (arguments.json ? ReportJson(report) + "\n" : ReportText(report)) << std::flush;
  const bool failed = std::any_of(report.samples.begin(), report.samples.end(),
                                  [](const BenchSample& sample) { return !sample.error.empty(); });
  return failed || report.samples.empty() ? kRequestFailed : kAnswered;
}

}  // namespace paligemma::client
