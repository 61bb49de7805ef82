// SPDX-License-Identifier: Apache-2.0
// The load tester. Closed loop: `concurrency` clients, each sends when its last call ended. Open
// loop: Poisson arrivals at `rate`, whatever the server does.
#ifndef CLIENT_BENCH_H_
#define CLIENT_BENCH_H_

#include <chrono>
#include <string>

#include "client/arguments.h"

namespace paligemma::client {

struct BenchOptions {
  double rate = 0;  // requests a second; 0: closed loop
  std::chrono::milliseconds duration{10'000}, warmup{1'000};
  std::string mix = "caption=1";  // methods and their shares
  std::string question = "what is in the picture?", labels = "cat", prompt = "caption en";
  unsigned seed = 1;  // of arrivals and of the mix
};

// Prints the report; returns the exit code: 1 when any request failed.
int RunBench(const Arguments& arguments, const BenchOptions& options);

}  // namespace paligemma::client

#endif  // CLIENT_BENCH_H_
