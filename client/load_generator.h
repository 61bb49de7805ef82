// SPDX-License-Identifier: Apache-2.0
// Sends requests on a schedule and keeps when each was due, sent and done.
//
// Closed loop: each worker sends when its last call ended, so a slow server is asked less often.
// Open loop: requests are due at Poisson arrivals, whatever the server does. One that finds all
// workers busy is sent late and still counts from when it was due: that is what a user waits who
// comes at that time, and what a closed loop leaves out (coordinated omission).
#ifndef CLIENT_LOAD_GENERATOR_H_
#define CLIENT_LOAD_GENERATOR_H_

#include <functional>
#include <string>
#include <vector>

#include "core/base/clock.h"

namespace paligemma::client {

struct LoadOptions {
  double rate = 0;  // arrivals a second; 0: closed loop
  int workers = 8;  // closed loop: the clients; open loop: most calls in flight
  Duration warmup{}, duration{};
  unsigned seed = 1;                  // of arrivals and kinds
  std::vector<double> weights = {1};  // of the kinds of request
};

// How a call ended.
struct CallOutcome {
  std::string code, reason;  // empty code: answered
  TimePoint first_event{};   // of a streamed answer; zero: none, or not streamed
  int tokens = 0, images = 0;
  int image_tokens = 0, cached_image_tokens = 0;
};

struct LoadSample {
  TimePoint due, sent, done;
  CallOutcome outcome;
};

struct LoadResult {
  TimePoint begin, end;             // of what is measured: after the warm-up
  std::vector<LoadSample> samples;  // of every request, in the order in which they ended
};

// A clock that can be waited on. Thread safe.
class LoadTimer : public Clock {
 public:
  virtual void SleepUntil(TimePoint when) = 0;
  // The machine's; lives for ever.
  static LoadTimer* OfMachine();
};

// Runs until every request that was due before the end is done. `call(kind)` sends one request of
// the kind that weights[kind] stands for, from up to options.workers threads.
LoadResult GenerateLoad(const LoadOptions& options, LoadTimer* timer,
                        const std::function<CallOutcome(size_t kind)>& call);

}  // namespace paligemma::client

#endif  // CLIENT_LOAD_GENERATOR_H_
