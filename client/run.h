// SPDX-License-Identifier: Apache-2.0
// Runs one command of the CLI. Returns the exit code: 0 all answered, 1 a request failed, 2 usage.
#ifndef CLIENT_RUN_H_
#define CLIENT_RUN_H_

#include "client/arguments.h"

namespace paligemma::client {

inline constexpr int kAnswered = 0, kRequestFailed = 1, kWrongUsage = 2;

int RunTask(Arguments arguments);
int RunModels(const Arguments& arguments);
int RunHealth(const Arguments& arguments);

}  // namespace paligemma::client

#endif  // CLIENT_RUN_H_
