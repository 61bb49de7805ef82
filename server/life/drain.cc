// SPDX-License-Identifier: Apache-2.0
#include "server/life/drain.h"

#include <algorithm>
#include <future>
#include <memory>
#include <thread>
#include <utility>

#include "server/life/log.h"

namespace paligemma {
namespace {

// Time to write the answers of requests that have ended in the engine.
constexpr Millis kTransportGrace{400};
constexpr Millis kSignalPoll{10};
// How long new calls are refused before GOAWAY is sent. gRPC ends a call that arrives during its
// shutdown with a bare CANCELLED; a call that arrives earlier gets our reason.
constexpr Millis kRefusalTime{200};

TimePoint Now() { return Clock::Real()->Now(); }

// Runs `work` on a detached thread, since the process may end before the work does.
std::future<bool> InBackground(std::function<bool()> work) {
  std::packaged_task<bool()> task(std::move(work));
  std::future<bool> result = task.get_future();
  std::thread(std::move(task)).detach();
  return result;
}

bool HasEnded(const std::future<bool>& task) {
  return task.wait_for(kSignalPoll) == std::future_status::ready;
}

}  // namespace

bool RunDrain(DrainParts parts, std::optional<Millis> patience, const SignalWait& signal) {
  // Shared with the detached threads, which may outlive this call.
  const auto shared = std::make_shared<const DrainParts>(std::move(parts));
  TimePoint end = Now() + patience.value_or(Millis(0));
  // Ends late requests with SERVER_DRAINING, so that the transport need not cancel their calls.
  auto engine = InBackground([shared, end] { return shared->drain_engine(end); });
  auto transport = InBackground([shared, end] {
    std::this_thread::sleep_for(kRefusalTime);
    const TimePoint cancel_at = std::max(end, Now()) + kTransportGrace;
    return shared->shut_transport(std::chrono::duration_cast<Millis>(cancel_at - Now()));
  });
  bool hurry = !patience.has_value();
  bool cancelled = false;
  bool all_ended = false;
  while (!(all_ended = HasEnded(engine) && HasEnded(transport)) && Now() < end + kLastWords) {
    if (!hurry && signal(Millis(0))) {
      hurry = true;
      end = Now();
      LogInfo("a second signal: ending the calls in flight");
      shared->end_requests();
    }
    // Waits until calls that were just ended have sent SERVER_DRAINING; cancelling loses it.
    if (hurry && !cancelled && Now() > end + kTransportGrace) {
      cancelled = true;
      shared->cancel_calls();
    }
  }
  return all_ended && engine.get() && transport.get();
}

}  // namespace paligemma
