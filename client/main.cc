// SPDX-License-Identifier: Apache-2.0
// paligemma: the command line client. Exit codes: 0 all answered, 1 a request failed, 2 usage.
#include <grpc/support/log.h>

#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "client/bench.h"
#include "client/command_line.h"
#include "client/run.h"

namespace {

// gRPC's library writes lines of its own to the terminal, such as one for each failed handshake.
// The client reports those failures itself. GRPC_VERBOSITY asks for the lines.
void SilenceGrpc() {
  if (std::getenv("GRPC_VERBOSITY") == nullptr) gpr_set_log_function([](gpr_log_func_args*) {});
}

}  // namespace

int main(int argc, char** argv) {
  namespace client = paligemma::client;
  SilenceGrpc();
  client::CommandLine line = client::ParseCommandLine(
      std::vector<std::string>(argv + 1, argv + argc), &std::cout, &std::cerr);
  if (line.exit_code.has_value()) return *line.exit_code;
  const client::Console console = client::Console::OfProcess();
  const std::string& command = line.arguments.command;
  if (command == "models") return client::RunModels(line.arguments, console);
  if (command == "health") return client::RunHealth(line.arguments, console);
  if (command == "bench") return client::RunBench(line.arguments, line.bench, console);
  return client::RunTask(std::move(line.arguments), console);
}
