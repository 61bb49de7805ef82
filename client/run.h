// SPDX-License-Identifier: Apache-2.0
// Runs one command of the CLI. Returns the exit code: 0 all answered, 1 a request failed, 2 usage.
#ifndef CLIENT_RUN_H_
#define CLIENT_RUN_H_

#include <istream>
#include <ostream>

#include "client/arguments.h"

namespace paligemma::client {

inline constexpr int kAnswered = 0, kRequestFailed = 1, kWrongUsage = 2;

// Where a command reads and writes; nothing is owned.
struct Console {
  std::istream* in;
  std::ostream* out;
  std::ostream* err;
  bool terminal = false;  // `err` is one: progress may be drawn

  static Console OfProcess();
};

// caption, answer, detect, segment, read, generate.
int RunTask(Arguments arguments, const Console& console);
int RunModels(const Arguments& arguments, const Console& console);
int RunHealth(const Arguments& arguments, const Console& console);

// Prints what is wrong; returns kWrongUsage.
int FailUsage(const Status& status, const Console& console);

}  // namespace paligemma::client

#endif  // CLIENT_RUN_H_
