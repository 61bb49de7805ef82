// SPDX-License-Identifier: Apache-2.0
// The commands of `paligemma`, and the pages that --help prints.
#ifndef CLIENT_COMMAND_HELP_H_
#define CLIENT_COMMAND_HELP_H_

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace paligemma::client {

struct CommandText {
  const char* name;
  const char* usage;     // what stands behind the name
  const char* purpose;   // what the command is for; a line in the list of commands
  const char* examples;  // whole command lines, one a line
};

const std::vector<CommandText>& Commands();

// Groups of options, in the order of the pages.
inline constexpr char kTask[] = "Task", kGeneration[] = "Generation", kLoad[] = "Load",
                      kOutput[] = "Output", kConnection[] = "Connection", kOther[] = "Other";
inline constexpr const char* kGroups[] = {kTask, kGeneration, kLoad, kOutput, kConnection, kOther};

// A page: what the command is for, its usage, its options and those of all commands in groups,
// examples.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_help(const CLI::App* app, std::string name,
                        CLI::AppFormatMode mode) const override;
};

}  // namespace paligemma::client

#endif  // CLIENT_COMMAND_HELP_H_
