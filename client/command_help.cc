// SPDX-License-Identifier: Apache-2.0
#include "client/command_help.h"

#include <sstream>

namespace paligemma::client {
namespace {

constexpr char kExamplesOfAll[] =
    "  paligemma health --wait=30s\n"
    "  paligemma caption cat.jpg\n"
    "  paligemma detect street.jpg \"car ; bicycle\" --overlay=boxes.png\n"
    "\n"
    "`paligemma COMMAND --help` shows the options of a command.\n";

const CommandText* Find(const CLI::App* app) {
  for (const CommandText& command : Commands()) {
    if (app->get_name() == command.name) return &command;
  }
  return nullptr;
}

// "  --left   right"; what does not fit into the left column has a line of its own.
void AddLine(const std::string& left, const std::string& right, std::string* page) {
  constexpr std::size_t kColumn = 30;
  *page += "  " + left;
  *page += left.size() + 4 <= kColumn ? std::string(kColumn - 2 - left.size(), ' ')
                                      : "\n" + std::string(kColumn, ' ');
  // Lines below the first of a longer text begin in the same column.
  std::istringstream lines(right);
  std::string line, indent;
  while (std::getline(lines, line)) {
    *page += indent + line + "\n";
    indent = std::string(kColumn, ' ');
  }
}

void AddOption(const CLI::Option& option, std::string* page) {
  std::string left = "--" + option.get_lnames().front();
  // CLI11 puts the range of a number behind its type.
  const std::string type = option.get_type_name();
  if (option.get_expected_max() > 0 && !type.empty()) left += "=" + type.substr(0, type.find(':'));
  std::string right = option.get_description();
  if (!option.get_default_str().empty()) right += " [" + option.get_default_str() + "]";
  if (!option.get_envname().empty()) right += "\nor the variable " + option.get_envname();
  AddLine(left, right, page);
}

// The options of `app`, then those of its parent; nothing if neither has one in this group.
void AddGroup(const CLI::App* app, const std::string& group, std::string* page) {
  std::string lines;
  for (const CLI::App* owner : {app->get_parent(), app}) {
    if (owner == nullptr) continue;
    std::string own;
    for (const CLI::Option* option : owner->get_options()) {
      if (option->get_group() == group && !option->get_lnames().empty()) AddOption(*option, &own);
    }
    lines.insert(0, own);
  }
  if (!lines.empty()) *page += "\n" + group + ":\n" + lines;
}

}  // namespace

const std::vector<CommandText>& Commands() {
  static const auto* const commands = new std::vector<CommandText>{
      {"caption", "IMAGE ... [OPTIONS]", "describes pictures",
       "  paligemma caption cat.jpg\n"
       "  paligemma caption pictures/ --length=long --language=de --json\n"},
      {"answer", "IMAGE ... QUESTION [OPTIONS]", "answers a question about pictures",
       "  paligemma answer cat.jpg \"how many cats are there?\"\n"},
      {"detect", "IMAGE ... [LABELS] [OPTIONS]", "finds things and prints their boxes",
       "  paligemma detect street.jpg \"car ; bicycle\" --overlay=boxes.png\n"
       "  paligemma detect street.jpg --label car --label bicycle --min-score=0.3\n"},
      {"segment", "IMAGE ... [LABELS] [OPTIONS]", "finds things, their boxes and their masks",
       "  paligemma segment street.jpg \"car\" --masks=masks/ --overlay=masks.png\n"},
      {"read", "IMAGE ... [OPTIONS]", "reads the text in pictures", "  paligemma read sign.jpg\n"},
      {"generate", "IMAGE ... PROMPT [OPTIONS]", "runs a raw prompt of the model",
       "  paligemma generate chart.png \"extract table\"\n"},
      {"models", "[OPTIONS]", "lists the models of the server and their limits",
       "  paligemma models\n"},
      {"health", "[OPTIONS]", "ends with 0 if the server is ready, or once it is with --wait",
       "  paligemma health\n"
       "  paligemma health --wait=30s\n"},
      {"bench", "IMAGE ... [OPTIONS]", "measures latency and throughput under load",
       "  paligemma bench pictures/ --concurrency=8 --duration=30s\n"
       "  paligemma bench pictures/ --rate=20 --duration=60s --runs=5\n"}};
  return *commands;
}

std::string HelpFormatter::make_help(const CLI::App* app, std::string, CLI::AppFormatMode) const {
  const CommandText* const command = Find(app);
  std::string page = "paligemma";
  if (command == nullptr) {
    page += ": " + app->get_description() + "\n\nUsage: paligemma COMMAND [OPTIONS]\n\nCommands:\n";
    for (const CommandText& text : Commands()) AddLine(text.name, text.purpose, &page);
  } else {
    page += std::string(" ") + command->name + ": " + command->purpose + "\n\nUsage: paligemma " +
            command->name + " " + command->usage + "\n";
    for (const CLI::Option* option : app->get_options()) {
      if (option->get_positional()) page += "  IMAGE: " + option->get_description() + "\n";
    }
  }
  for (const char* group : kGroups) AddGroup(app, group, &page);
  return page + "\nExamples:\n" + (command == nullptr ? kExamplesOfAll : command->examples);
}

}  // namespace paligemma::client
