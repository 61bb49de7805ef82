// SPDX-License-Identifier: Apache-2.0
// paligemma: the command line client. Exit codes: 0 all answered, 1 a request failed, 2 usage.
#include <CLI/CLI.hpp>
#include <string>

#include "client/bench.h"
#include "client/run.h"

namespace {

using paligemma::client::Arguments;

// Seconds by default: "30", "500ms", "2s", "1m".
std::chrono::milliseconds ReadDuration(const char* flag, const std::string& text) {
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
  if (end == 0 || !(number > 0) || scale < 0 || number * scale > 1e9) {
    throw CLI::ValidationError(flag, "write 500ms, 30s or 2m");
  }
  return std::chrono::milliseconds(static_cast<long>(number * scale));
}

void AddConnection(CLI::App* app, Arguments* arguments, std::string* timeout) {
  auto* const client = &arguments->client;
  app->add_option("--server", client->server, "HOST:PORT")
      ->envname("PALIGEMMA_SERVER")
      ->capture_default_str();
  app->add_option("--timeout", *timeout, "of each request, as 500ms, 30s or 2m")
      ->capture_default_str();
  app->add_flag("--tls", client->tls, "use TLS with the system's roots");
  app->add_option("--tls-ca", client->tls_ca, "PEM roots to trust");
  app->add_option("--tls-cert", client->tls_cert, "PEM certificate to show");
  app->add_option("--tls-key", client->tls_key, "its key");
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
  app->add_option("--top-p", arguments->top_p);
  app->add_option("--top-k", arguments->top_k);
  app->add_option("--seed", arguments->seed, "repeats a sampled answer");
  app->add_option("--logprobs", arguments->logprobs, "log-probabilities, with N alternatives");
  app->add_option("--overlay", arguments->overlay, "FILE.png: the picture with what was found");
  app->add_option("--concurrency", arguments->concurrency, "requests at the same time")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app->add_flag("--stream", arguments->stream, "print text as it comes");
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
  if (name == "segment") app->add_option("--masks", arguments->masks, "DIR for the masks as PNG");
  if (name == "caption") {
    app->add_option("--length", arguments->length, "short or long")
        ->check(CLI::IsMember({"short", "long"}));
  }
  if (name == "caption" || name == "answer") {
    app->add_option("--language", arguments->language, "BCP-47 code, default en");
  }
}

void AddBench(CLI::App* app, Arguments* arguments, paligemma::client::BenchOptions* options,
              std::string* duration, std::string* warmup) {
  app->add_option("images", arguments->positional, "pictures to send, in turn by chance")
      ->required();
  app->add_option("--mix", options->mix, "methods and shares: caption=0.5,answer=0.5")
      ->capture_default_str();
  app->add_option("--concurrency", arguments->concurrency, "clients of the closed loop")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app->add_option("--rate", options->rate, "open loop: Poisson arrivals a second");
  app->add_option("--duration", *duration)->capture_default_str();
  app->add_option("--warmup", *warmup, "not counted")->capture_default_str();
  app->add_option("--max-tokens", arguments->max_tokens);
  app->add_option("--question", options->question)->capture_default_str();
  app->add_option("--labels", options->labels)->capture_default_str();
  app->add_option("--prompt", options->prompt)->capture_default_str();
  app->add_option("--seed", options->seed)->capture_default_str();
}

}  // namespace

int main(int argc, char** argv) {
  namespace client = paligemma::client;
  CLI::App app("Asks a PaliGemma server about pictures.");
  app.require_subcommand(1);
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
  client::BenchOptions bench;
  std::string duration = "10s", warmup = "1s";
  CLI::App* const load = app.add_subcommand("bench", "measures latency and throughput");
  AddConnection(load, &arguments, &timeout);
  AddBench(load, &arguments, &bench, &duration, &warmup);
  try {
    app.parse(argc, argv);
    arguments.client.timeout = ReadDuration("--timeout", timeout);
    bench.duration = ReadDuration("--duration", duration);
    bench.warmup = ReadDuration("--warmup", warmup);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? client::kAnswered : client::kWrongUsage;
  }
  arguments.command = app.get_subcommands().front()->get_name();
  if (arguments.command == "models") return client::RunModels(arguments);
  if (arguments.command == "health") return client::RunHealth(arguments);
  if (arguments.command == "bench") return client::RunBench(arguments, bench);
  return client::RunTask(std::move(arguments));
}
