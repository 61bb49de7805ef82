// SPDX-License-Identifier: Apache-2.0
#include "client/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "client/command_help.h"
#include "client/run.h"
#include "core/base/build_info.h"
#include "core/base/duration.h"
#include "core/base/nearest_name.h"

namespace paligemma::client {
namespace {

// A flag that takes a duration of at least `least`.
CLI::Option* AddDuration(CLI::App* app, const std::string& flag, Millis* value, Millis least,
                         const std::string& help) {
  const auto read = [flag, value, least](const CLI::results_t& texts) {
    const auto duration = ParseDuration(texts.front());
    if (!duration.ok() || *duration < least) {
      throw CLI::ValidationError(flag,
                                 texts.front() + " is not a duration such as 500ms, 30s or 2m");
    }
    *value = *duration;
    return true;
  };
  return app->add_option(flag, read, help)
      ->type_name("DURATION")
      ->default_str(FormatDuration(*value));
}

// The options of every command. They stand on the parent alone: an option that each command bound
// to the same variable would be read from the environment once more by each unused command.
void AddCommon(CLI::App* app, Arguments* arguments) {
  ClientOptions* const client = &arguments->client;
  app->option_defaults()->group(kConnection);
  app->add_option("--server", client->server, "HOST:PORT of the server")
      ->type_name("ADDRESS")
      ->envname("PALIGEMMA_SERVER")
      ->capture_default_str();
  AddDuration(app, "--timeout", &client->timeout, Millis(1), "longest time of each request");
  app->add_flag("--tls", client->tls, "use TLS and trust the system's roots");
  app->add_option("--tls-ca", client->tls_ca, "PEM roots to trust")->type_name("FILE");
  app->add_option("--tls-cert", client->tls_cert, "PEM certificate to show")->type_name("FILE");
  app->add_option("--tls-key", client->tls_key, "private key of --tls-cert")->type_name("FILE");
  app->add_option("--token", client->token,
                  "bearer token; other users see it in a list of processes")
      ->type_name("TOKEN")
      ->envname("PALIGEMMA_TOKEN");
  app->add_option("--token-file", client->token_file, "file that holds the bearer token")
      ->type_name("FILE");
  app->option_defaults()->group(kOutput);
  app->add_flag("--json", arguments->json, "print one JSON object a line");
}

void AddGeneration(CLI::App* app, Arguments* arguments) {
  app->option_defaults()->group(kGeneration);
  app->add_option("--model", arguments->model, "models/NAME or NAME")->type_name("NAME");
  app->add_option("--max-tokens", arguments->max_tokens, "most tokens to generate")->type_name("N");
  app->add_option("--temperature", arguments->temperature, "randomness of the answer; 0: greedy")
      ->type_name("T");
  app->add_option("--top-p", arguments->top_p,
                  "draw from the most probable tokens that have this probability together")
      ->type_name("P");
  app->add_option("--top-k", arguments->top_k, "draw from the K most probable tokens; 0: from all")
      ->type_name("K");
  app->add_option("--seed", arguments->seed, "the same seed repeats a sampled answer")
      ->type_name("N");
  app->add_option("--logprobs", arguments->logprobs,
                  "log-probability of each token, with N alternatives")
      ->type_name("N");
}

// What detect and segment take, and what the others do.
void AddTaskOptions(CLI::App* app, Arguments* arguments) {
  const std::string& name = app->get_name();
  app->option_defaults()->group(kTask);
  if (name == "detect" || name == "segment") {
    app->add_option("--label", arguments->labels, "a label, in place of the text; repeatable")
        ->type_name("LABEL")
        ->expected(1)
        ->take_all();
    app->add_flag("--separate", arguments->separate, "ask for each label in a prompt of its own");
    app->add_option("--min-score", arguments->min_score, "leave out objects with a lower score")
        ->type_name("SCORE");
  } else {
    app->add_option("--candidates", arguments->candidates, "number of answers to draw")
        ->type_name("N");
  }
  if (name == "caption") {
    app->add_option("--length", arguments->length, "short or long")
        ->type_name("LENGTH")
        ->check(CLI::IsMember({"short", "long"}));
  }
  if (name == "caption" || name == "answer") {
    app->add_option("--language", arguments->language, "BCP-47 code of the answer; default: en")
        ->type_name("CODE");
  }
  app->add_flag("--together", arguments->together, "send all images in one request");
  app->add_option("--concurrency", arguments->concurrency, "requests at the same time")
      ->type_name("N")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
}

void AddTaskOutput(CLI::App* app, Arguments* arguments) {
  const std::string& name = app->get_name();
  app->option_defaults()->group(kOutput);
  app->add_flag("--stream", arguments->stream, "print text and objects as they come");
  app->add_option("--overlay", arguments->overlay, "draw what was found on the picture")
      ->type_name("FILE.png");
  if (name == "segment" || name == "generate") {
    app->add_option("--masks", arguments->masks, "folder to write the masks to")->type_name("DIR");
  }
}

void AddTask(CLI::App* app, Arguments* arguments) {
  app->add_option("images", arguments->positional, "a file, a directory, or - for standard input")
      ->type_name("")
      ->required();
  AddTaskOptions(app, arguments);
  AddGeneration(app, arguments);
  AddTaskOutput(app, arguments);
}

void AddBench(CLI::App* app, Arguments* arguments, BenchOptions* options) {
  app->add_option("images", arguments->positional, "pictures to send, in random order")
      ->type_name("")
      ->required();
  app->option_defaults()->group(kLoad);
  app->add_option("--mix", options->mix,
                  "commands and their shares: caption=0.5,answer:stream=0.5;\n"
                  ":stream asks through StreamGenerate")
      ->type_name("MIX")
      ->capture_default_str();
  app->add_flag("--stream", arguments->stream,
                "send all through StreamGenerate, which shows the time to the first token");
  CLI::Option* const concurrency =
      app->add_option("--concurrency", arguments->concurrency,
                      "closed loop: clients, each sends when its last call ended")
          ->check(CLI::Range(1, 256))
          ->capture_default_str();
  app->add_option("--rate", options->rate,
                  "open loop: Poisson arrivals a second, whatever the server does")
      ->check(CLI::Range(0.001, 1e6))
      ->excludes(concurrency);
  app->add_option("--max-in-flight", options->max_in_flight,
                  "open loop: most calls at the same time")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  AddDuration(app, "--duration", &options->duration, Millis(1), "measured time of each run");
  AddDuration(app, "--warmup", &options->warmup, Millis(0), "time before it that does not count");
  app->add_option("--runs", options->runs, "runs; their median and range are reported")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  app->option_defaults()->group(kTask);
  app->add_flag("--bypass-cache", arguments->bypass_cache,
                "encode the picture of every request anew, as if it were a new one");
  app->add_option("--model", arguments->model, "models/NAME or NAME");
  app->add_option("--max-tokens", arguments->max_tokens, "most tokens of an answer");
  app->add_option("--question", options->question, "question of answer")->capture_default_str();
  app->add_option("--labels", options->labels, "labels of detect and segment")
      ->capture_default_str();
  app->add_option("--prompt", options->prompt, "prompt of generate")->capture_default_str();
  app->add_option("--seed", options->seed, "seed of the arrivals and of the mix")
      ->capture_default_str();
}

void AddHealth(CLI::App* app, Arguments* arguments) {
  app->option_defaults()->group(kTask);
  AddDuration(app, "--wait", &arguments->wait, Millis(0),
              "wait up to this long for the server to be ready");
}

// Returns the words without the command and without the token, wherever either stands.
std::string FlagsForReport(const std::vector<std::string>& words) {
  std::string flags;
  const auto command = std::find(words.begin(), words.end(), "bench");
  for (auto word = words.begin(); word != words.end(); ++word) {
    if (*word == "--token") {
      if (++word == words.end()) break;  // its value is missing
    } else if (word != command && !word->starts_with("--token=")) {
      flags.append(flags.empty() ? "" : " ").append(*word);
    }
  }
  return flags;
}

std::vector<std::string> OptionNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

std::string DidYouMean(const std::string& word, const std::vector<std::string>& names) {
  const std::string nearest = NearestName(word, names);
  return nearest.empty() ? "" : "; did you mean " + nearest + "?";
}

// The words that nothing took explain more than the library's error: it reports a missing command
// or picture first.
std::string Explain(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<CLI::App*> chosen = app.get_subcommands();
  const CLI::App* const command = chosen.empty() ? nullptr : chosen.front();
  std::vector<std::string> names = OptionNames(app);
  if (command != nullptr) {
    for (std::string& name : OptionNames(*command)) names.push_back(std::move(name));
  }
  for (const std::string& word : app.remaining(true)) {
    if (word.size() > 1 && word.starts_with("-")) {
      const std::string name = word.substr(0, word.find('='));
      return "there is no option " + name +
             (command == nullptr ? "" : " of " + command->get_name()) + DidYouMean(name, names);
    }
    if (command == nullptr) {
      std::vector<std::string> commands;
      for (const CommandText& text : Commands()) commands.push_back(text.name);
      return "there is no command " + word + DidYouMean(word, commands);
    }
  }
  if (command == nullptr) return "a command is missing";
  return error.what();
}

}  // namespace

CommandLine ParseCommandLine(const std::vector<std::string>& words, std::ostream* out,
                             std::ostream* err) {
  CommandLine line;
  CLI::App app("asks a PaliGemma server about pictures");
  app.require_subcommand(1);
  app.fallthrough();  // the commands inherit it: the options of all may stand behind a command
  app.formatter(std::make_shared<HelpFormatter>());
  app.set_help_flag("-h,--help", "print this page and end")->group(kOther);
  app.set_version_flag("--version",
                       std::string("paligemma ") + BuildVersion() + " (" + BuildCommit() + ")",
                       "print the version and end")
      ->group(kOther);
  AddCommon(&app, &line.arguments);
  line.bench.commit = BuildCommit();
  line.bench.flags = FlagsForReport(words);
  for (const CommandText& text : Commands()) {
    CLI::App* const command = app.add_subcommand(text.name, text.purpose)->group("Commands");
    command->set_help_flag("-h,--help", "");
    command->get_help_ptr()->group("");  // the page shows the parent's
    const std::string name = text.name;
    if (name == "bench") {
      AddBench(command, &line.arguments, &line.bench);
    } else if (name == "health") {
      AddHealth(command, &line.arguments);
    } else if (name != "models") {
      AddTask(command, &line.arguments);
    }
  }
  std::vector<const char*> argv = {"paligemma"};
  for (const std::string& word : words) argv.push_back(word.c_str());
  try {
    app.parse(static_cast<int>(argv.size()), argv.data());
    line.arguments.command = app.get_subcommands().front()->get_name();
  } catch (const CLI::Success& success) {  // help or the version
    line.exit_code = app.exit(success, *out, *err);
  } catch (const CLI::ParseError& error) {
    *err << "paligemma: " << Explain(app, error) << "; see --help\n";
    line.exit_code = kWrongUsage;
  }
  return line;
}

}  // namespace paligemma::client
