// SPDX-License-Identifier: Apache-2.0
#include "client/bench.h"

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "client/client.h"
#include "client/errors.h"
#include "client/load_generator.h"
#include "client/load_report.h"
#include "client/task.h"

namespace paligemma::client {
namespace {

constexpr const char* kCommands[] = {"caption", "answer", "detect", "segment", "read", "generate"};

struct Kind {
  v1::TaskRequest task;
  bool stream = false;
  double weight = 0;
};

// Every part of the mix with every picture.
StatusOr<std::vector<Kind>> MakeKinds(const Arguments& arguments, const BenchOptions& options,
                                      std::istream* input) {
  PG_ASSIGN_OR_RETURN(const std::vector<MixPart> mix, ParseMix(options.mix));
  PG_ASSIGN_OR_RETURN(const std::vector<std::string> names, ExpandImages(arguments.positional));
  std::vector<Kind> kinds;
  for (const std::string& name : names) {
    PG_ASSIGN_OR_RETURN(const InputImage image, ReadImage(name, input));
    for (const MixPart& part : mix) {
      Arguments one = arguments;
      one.command = part.command;
      const std::string& text = one.command == "answer"     ? options.question
                                : one.command == "generate" ? options.prompt
                                                            : options.labels;
      kinds.push_back({MakeTask(one, text, {image}), part.stream || arguments.stream, part.weight});
    }
  }
  return kinds;
}

CallOutcome Send(Client* client, const Kind& kind, const Clock& clock) {
  CallOutcome outcome;
  const auto on_event = [&](const v1::StreamGenerateResponse&) {
    if (outcome.first_event == TimePoint()) outcome.first_event = clock.Now();
    return true;
  };
  const StatusOr<v1::TaskResponse> response =
      kind.stream ? client->Stream(kind.task, on_event) : client->Call(kind.task);
  if (!response.ok()) {
    outcome.code = StatusCodeName(response.status().code());
    outcome.reason = ReasonOf(response.status());
    return outcome;
  }
  const v1::Usage& usage = InfoOf(*response).usage();
  outcome.tokens = usage.output_token_count();
  outcome.images = usage.image_count();
  outcome.image_tokens = usage.image_token_count();
  outcome.cached_image_tokens = usage.cached_image_token_count();
  return outcome;
}

// "models/tiny-a, float32, quantization none, on cpu (avx2)".
std::string DescribeServer(Client* client) {
  const auto models = client->Models();
  if (!models.ok() || models->empty()) return "";
  const v1::Model& model = models->front();
  std::string text = model.name() + ", " + model.activation_dtype() + ", quantization " +
                     model.quantization() + ", on";
  for (const std::string& device : model.devices()) text += " " + device;
  return text;
}

}  // namespace

StatusOr<std::vector<MixPart>> ParseMix(const std::string& text) {
  std::vector<MixPart> mix;
  std::stringstream parts(text);
  std::string entry;
  while (std::getline(parts, entry, ',')) {
    MixPart part;
    const size_t equal = entry.find('=');
    part.command = entry.substr(0, equal);
    if (part.command.ends_with(":stream")) {
      part.stream = true;
      part.command.resize(part.command.size() - std::string_view(":stream").size());
    }
    char* rest = nullptr;
    const std::string number = equal == std::string::npos ? "1" : entry.substr(equal + 1);
    part.weight = std::strtod(number.c_str(), &rest);
    const bool known =
        std::find(std::begin(kCommands), std::end(kCommands), part.command) != std::end(kCommands);
    if (!known || number.empty() || *rest != '\0' || !(part.weight > 0) || part.weight > 1e9) {
      return Status(StatusCode::kInvalidArgument,
                    "--mix: write caption=0.5,answer:stream=0.5; wrong is '" + entry + "'");
    }
    mix.push_back(std::move(part));
  }
  if (mix.empty()) return Status(StatusCode::kInvalidArgument, "--mix: names no request");
  return mix;
}

int RunBench(const Arguments& arguments, const BenchOptions& options, const Console& console) {
  const auto kinds = MakeKinds(arguments, options, console.in);
  if (!kinds.ok()) return FailUsage(kinds.status(), console);
  ClientOptions connection = arguments.client;
  connection.max_attempts = 1;  // a retry would hide an error
  const auto client = Client::Create(connection);
  if (!client.ok()) return FailUsage(client.status(), console);

  LoadOptions load;
  load.rate = options.rate;
  load.workers = options.rate > 0 ? options.max_in_flight : arguments.concurrency;
  load.warmup = options.warmup;
  load.duration = options.duration;
  load.weights.clear();
  for (const Kind& kind : *kinds) load.weights.push_back(kind.weight);

  LoadReport report;
  report.flags = options.flags;
  report.commit = options.commit;
  report.machine = ThisMachine();
  report.server = DescribeServer(client->get());
  double answered = 0;
  for (int run = 0; run < options.runs; ++run) {
    load.seed = options.seed + static_cast<unsigned>(run);
    LoadTimer* const timer = LoadTimer::OfMachine();
    const LoadResult result = GenerateLoad(
        load, timer, [&](size_t kind) { return Send(client->get(), (*kinds)[kind], *timer); });
    report.runs.push_back(FiguresOf(result));
    for (const auto& [error, count] : ErrorsOf(result)) report.errors[error] += count;
    for (const LoadSample& sample : result.samples) answered += sample.outcome.code.empty();
  }
  *console.out << (arguments.json ? ReportJson(report) + "\n" : ReportText(report)) << std::flush;
  return report.errors.empty() && answered > 0 ? kAnswered : kRequestFailed;
}

}  // namespace paligemma::client
