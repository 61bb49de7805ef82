// SPDX-License-Identifier: Apache-2.0
// The words of the command line and the environment, read into what each command takes.
#ifndef CLIENT_COMMAND_LINE_H_
#define CLIENT_COMMAND_LINE_H_

#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "client/arguments.h"
#include "client/bench.h"

namespace paligemma::client {

struct CommandLine {
  Arguments arguments;
  BenchOptions bench;
  // Set if the process should end at once: help or the version was printed, or the usage is wrong.
  std::optional<int> exit_code;
};

// Reads `words`, which begin behind the program's name. A flag wins over its environment variable,
// and the variable wins over the default. Help and version go to `out`; a usage error goes to
// `err` in one line with a suggestion where a name looks mistyped.
CommandLine ParseCommandLine(const std::vector<std::string>& words, std::ostream* out,
                             std::ostream* err);

}  // namespace paligemma::client

#endif  // CLIENT_COMMAND_LINE_H_
