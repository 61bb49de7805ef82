// SPDX-License-Identifier: Apache-2.0
// paligemma: the command line client. Exit codes: 0 all answered, 1 a request failed, 2 usage.
#include <CLI/CLI.hpp>
#include <string>

#include "client/bench.h"
#include "client/run.h"
#include "core/base/build_info.h"

namespace {

using paligemma::client::Arguments;
using paligemma::client::BenchOptions;

constexpr std::chrono::milliseconds kTick{1};

// Seconds by default: "30", "500ms", "2s", "1m". At least `least`.
std::chrono::milliseconds ReadDuration(const char* flag, const std::string& text,
                                       std::chrono::milliseconds least) {
  size_t end = 0;
  double number = -1;
  try {
    number = std::stod(text, &end);
  } catch (const std::exception&) {
    end = 0;
  }
  const std::string unit = text.substr(end);
  const double scale = unit == "ms"                  ? 1
                       : unit == "m"                 ? 60000
                       : unit == "s" || unit.empty() ? 1000
                                                     : -1;
  if (end == 0 || scale < 0 || !(number * scale >= static_cast<double>(least.count())) ||
      number * scale > 1e9) {
    throw CLI::ValidationError(flag, "write 500ms, 30s or 2m");
  }
  return std::chrono::milliseconds(static_cast<long>(number * scale));
}

void AddConnection(CLI::App* app, Arguments* arguments, std::string* timeout) {
  auto* const client = &arguments->client;
  app->add_option("--server", client->server, "where it listens")
      ->type_name("HOST:PORT")
      ->envname("PALIGEMMA_SERVER")
      ->capture_default_str();
  app->add_option("--timeout", *timeout, "of each request, as 500ms, 30s or 2m")
      ->type_name("DURATION")
      ->capture_default_str();
  app->add_flag("--tls", client->tls, "use TLS with the system's roots");
  app->add_option("--tls-ca", client->tls_ca, "PEM roots to trust")->type_name("FILE");
  app->add_option("--tls-cert", client->tls_cert, "PEM certificate to show")->type_name("FILE");
  app->add_option("--tls-key", client->tls_key, "its key")->type_name("FILE");
  app->add_option("--token", client->token, "bearer token; other processes see a command line")
      ->envname("PALIGEMMA_TOKEN");
  app->add_option("--token-file", client->token_file, "file that holds it")->type_name("FILE");
  app->add_flag("--json", arguments->json, "one JSON object a line");
}

void AddTask(CLI::App* app, Arguments* arguments) {
  const std::string name = app->get_name();
  app->add_option("arguments", arguments->positional,
                  "images (files, directories, - for standard input), then the text")
      ->required();
  app->add_option("--model", arguments->model, "models/NAME or NAME");
  app->add_option("--max-tokens", arguments->max_tokens, "most tokens to generate");
  app->add_option("--temperature", arguments->temperature, "0: greedy");
  app->add_option("--top-p", arguments->top_p, "draw from the most probable tokens of this sum");
  app->add_option("--top-k", arguments->top_k, "draw from this many; 0: all");
  app->add_option("--seed", arguments->seed, "repeats a sampled answer");
  app->add_option("--logprobs", arguments->logprobs, "log-probabilities, with N alternatives");
  app->add_option("--overlay", arguments->overlay, "the picture with what was found")
      ->type_name("FILE.png");
  app->add_option("--concurrency", arguments->concurrency, "requests at the same time")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app->add_flag("--stream", arguments->stream, "print text and objects as they come");
  app->add_flag("--together", arguments->together, "all images in one request");
  if (name == "detect" || name == "segment") {
    app->add_option("--label", arguments->labels, "instead of the text; repeatable")
        ->expected(1)
        ->take_all();
    app->add_flag("--separate", arguments->separate, "one prompt for each label");
    app->add_option("--min-score", arguments->min_score, "drop what scores less");
  } else {
    app->add_option("--candidates", arguments->candidates, "answers to draw");
  }
  if (name == "segment" || name == "generate") {
    app->add_option("--masks", arguments->masks, "where to write the masks")->type_name("DIR");
  }
  if (name == "caption") {
    app->add_option("--length", arguments->length, "short or long")
        ->check(CLI::IsMember({"short", "long"}));
  }
  if (name == "caption" || name == "answer") {
    app->add_option("--language", arguments->language, "BCP-47 code, default en");
  }
}

void AddBench(CLI::App* app, Arguments* arguments, BenchOptions* options, std::string* duration,
              std::string* warmup) {
  app->add_option("images", arguments->positional, "pictures to send, in turn by chance")
      ->required();
  app->add_option("--mix", options->mix,
                  "requests and their shares: caption=0.5,answer:stream=0.5 (the commands' names; "
                  ":stream asks through StreamGenerate)")
      ->capture_default_str();
  app->add_flag("--stream", arguments->stream,
                "all through StreamGenerate, which shows the time to the first token");
  CLI::Option* const concurrency =
      app->add_option("--concurrency", arguments->concurrency,
                      "closed loop: clients, each sends when its last call ended")
          ->check(CLI::Range(1, 256))
          ->capture_default_str();
  app->add_option("--rate", options->rate,
                  "open loop: Poisson arrivals a second, whatever the server does")
      ->check(CLI::PositiveNumber)
      ->excludes(concurrency);
  app->add_option("--max-in-flight", options->max_in_flight, "of the open loop")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app->add_option("--duration", *duration, "of what is measured, in each run")
      ->type_name("DURATION")
      ->capture_default_str();
  app->add_option("--warmup", *warmup, "before it, in each run")
      ->type_name("DURATION")
      ->capture_default_str();
  app->add_option("--runs", options->runs, "whose median and range are reported")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  app->add_flag("--bypass-cache", options->bypass_cache,
                "every request encodes its picture anew, as if it were a new one");
  app->add_option("--model", arguments->model, "models/NAME or NAME");
  app->add_option("--max-tokens", arguments->max_tokens, "most tokens of an answer");
  app->add_option("--question", options->question, "of answer")->capture_default_str();
  app->add_option("--labels", options->labels, "of detect and segment")->capture_default_str();
  app->add_option("--prompt", options->prompt, "of generate")->capture_default_str();
  app->add_option("--seed", options->seed, "of arrivals and of the mix")->capture_default_str();
}

}  // namespace

int main(int argc, char** argv) {
  namespace client = paligemma::client;
  CLI::App app("Asks a PaliGemma server about pictures.");
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("paligemma ") + paligemma::BuildVersion() + " (" +
                                        paligemma::BuildCommit() + ")");
  Arguments arguments;
  std::string timeout = "60s";
  const std::pair<const char*, const char*> tasks[] = {
      {"caption", "describes pictures"},
      {"answer", "answers a question: answer IMAGE ... QUESTION"},
      {"detect", "finds things: detect IMAGE ... \"cat ; dog\""},
      {"segment", "finds things and their masks: segment IMAGE ... \"cat ; dog\""},
      {"read", "reads the text in pictures"},
      {"generate", "runs a raw prompt: generate IMAGE ... PROMPT"}};
  for (const auto& [name, help] : tasks) {
    CLI::App* const task = app.add_subcommand(name, help);
    AddConnection(task, &arguments, &timeout);
    AddTask(task, &arguments);
  }
  for (const auto& [name, help] : {std::pair("models", "lists the models of the server"),
                                   std::pair("health", "exits with 0 when the server is ready")}) {
    AddConnection(app.add_subcommand(name, help), &arguments, &timeout);
  }
  BenchOptions bench;
  bench.commit = paligemma::BuildCommit();
  for (int i = 2; i < argc; ++i) bench.flags.append(i == 2 ? "" : " ").append(argv[i]);
  std::string duration = "10s", warmup = "1s";
  CLI::App* const load = app.add_subcommand("bench", "measures latency and throughput");
  AddConnection(load, &arguments, &timeout);
  AddBench(load, &arguments, &bench, &duration, &warmup);
  try {
    app.parse(argc, argv);
    arguments.client.timeout = ReadDuration("--timeout", timeout, kTick);
    bench.duration = ReadDuration("--duration", duration, kTick);
    bench.warmup = ReadDuration("--warmup", warmup, 0 * kTick);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? client::kAnswered : client::kWrongUsage;
  }
  const client::Console console = client::Console::OfProcess();
  arguments.command = app.get_subcommands().front()->get_name();
  if (arguments.command == "models") return client::RunModels(arguments, console);
  if (arguments.command == "health") return client::RunHealth(arguments, console);
  if (arguments.command == "bench") return client::RunBench(arguments, bench, console);
  return client::RunTask(std::move(arguments), console);
}
