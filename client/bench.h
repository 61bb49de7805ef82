// SPDX-License-Identifier: Apache-2.0
// `paligemma bench`: the load test of the command line.
#ifndef CLIENT_BENCH_H_
#define CLIENT_BENCH_H_

#include <chrono>
#include <string>
#include <vector>

#include "client/arguments.h"
#include "client/run.h"

namespace paligemma::client {

struct BenchOptions {
  double rate = 0;          // open loop: requests a second; 0: closed loop
  int max_in_flight = 256;  // of the open loop
  std::chrono::milliseconds duration{10'000}, warmup{1'000};
  int runs = 1;
  std::string mix = "caption=1";
  std::string question = "what is in the picture?", labels = "cat", prompt = "caption en";
  unsigned seed = 1;
  std::string flags, commit;  // for the report
};

// A kind of request and how often it is sent, relative to the others.
struct MixPart {
  std::string command;
  bool stream = false;
  double weight = 1;
};

// "caption=0.5,answer:stream=0.5": a part without a number counts 1. The error is a usage error.
StatusOr<std::vector<MixPart>> ParseMix(const std::string& text);

// Prints the report; returns the exit code: 1 when a measured request failed or none was answered.
// Calls are not retried. Takes --stream as ":stream" on every part of the mix.
int RunBench(const Arguments& arguments, const BenchOptions& options, const Console& console);

}  // namespace paligemma::client

#endif  // CLIENT_BENCH_H_
