// SPDX-License-Identifier: Apache-2.0
// paligemma: the command line client. Exit codes: 0 all answered, 1 a request failed, 2 usage.
#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "client/bench.h"
#include "client/run.h"
#include "core/base/build_info.h"
#include "core/base/duration.h"

namespace {

using paligemma::Millis;
using paligemma::client::Arguments;
using paligemma::client::BenchOptions;

// A flag that takes a duration of at least `least`.
CLI::Option* AddDuration(CLI::App* app, const std::string& flag, Millis* value, Millis least,
                         const std::string& help) {
  const auto read = [value, least](const CLI::results_t& texts) {
    const auto duration = paligemma::ParseDuration(texts.front());
    if (!duration.ok() || *duration < least) {
      throw CLI::ValidationError(texts.front() + " is not a duration as 500ms, 30s or 2m");
    }
    *value = *duration;
    return true;
  };
  return app->add_option(flag, read, help)
      ->type_name("DURATION")
      ->default_str(paligemma::FormatDuration(*value));
}

void AddConnection(CLI::App* app, Arguments* arguments) {
  auto* const client = &arguments->client;
  app->add_option("--server", client->server, "where it listens")
      ->type_name("HOST:PORT")
      ->envname("PALIGEMMA_SERVER")
      ->capture_default_str();
  AddDuration(app, "--timeout", &client->timeout, Millis(1),
              "of each request, as 500ms, 30s or 2m");
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

void AddBench(CLI::App* app, Arguments* arguments, BenchOptions* options) {
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
      ->check(CLI::Range(0.001, 1e6))
      ->excludes(concurrency);
  app->add_option("--max-in-flight", options->max_in_flight, "of the open loop")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  AddDuration(app, "--duration", &options->duration, Millis(1), "of what is measured, in each run");
  AddDuration(app, "--warmup", &options->warmup, Millis(0), "before it, in each run");
  app->add_option("--runs", options->runs, "whose median and range are reported")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  app->add_flag("--bypass-cache", arguments->bypass_cache,
                "every request encodes its picture anew, as if it were a new one");
  app->add_option("--model", arguments->model, "models/NAME or NAME");
  app->add_option("--max-tokens", arguments->max_tokens, "most tokens of an answer");
  app->add_option("--question", options->question, "of answer")->capture_default_str();
  app->add_option("--labels", options->labels, "of detect and segment")->capture_default_str();
  app->add_option("--prompt", options->prompt, "of generate")->capture_default_str();
  app->add_option("--seed", options->seed, "of arrivals and of the mix")->capture_default_str();
}

// The command line without its first word and without the token.
std::string FlagsForReport(const std::vector<std::string>& words) {
  std::string flags;
  for (size_t i = 1; i < words.size(); ++i) {
    if (words[i] == "--token") {
      ++i;  // its value
    } else if (!words[i].starts_with("--token=")) {
      flags.append(flags.empty() ? "" : " ").append(words[i]);
    }
  }
  return flags;
}

}  // namespace

int main(int argc, char** argv) {
  namespace client = paligemma::client;
  CLI::App app("Asks a PaliGemma server about pictures.");
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("paligemma ") + paligemma::BuildVersion() + " (" +
                                        paligemma::BuildCommit() + ")");
  Arguments arguments;
  const std::pair<const char*, const char*> tasks[] = {
      {"caption", "describes pictures"},
      {"answer", "answers a question: answer IMAGE ... QUESTION"},
      {"detect", "finds things: detect IMAGE ... \"cat ; dog\""},
      {"segment", "finds things and their masks: segment IMAGE ... \"cat ; dog\""},
      {"read", "reads the text in pictures"},
      {"generate", "runs a raw prompt: generate IMAGE ... PROMPT"}};
  for (const auto& [name, help] : tasks) {
    CLI::App* const task = app.add_subcommand(name, help);
    AddConnection(task, &arguments);
    AddTask(task, &arguments);
  }
  for (const auto& [name, help] : {std::pair("models", "lists the models of the server"),
                                   std::pair("health", "exits with 0 when the server is ready")}) {
    AddConnection(app.add_subcommand(name, help), &arguments);
  }
  BenchOptions bench;
  bench.commit = paligemma::BuildCommit();
  bench.flags = FlagsForReport({argv + 1, argv + argc});
  CLI::App* const load = app.add_subcommand("bench", "measures latency and throughput");
  AddConnection(load, &arguments);
  AddBench(load, &arguments, &bench);
  try {
    app.parse(argc, argv);
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
