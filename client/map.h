// SPDX-License-Identifier: Apache-2.0
// Many requests at once: a thread for each call in flight.
#ifndef CLIENT_MAP_H_
#define CLIENT_MAP_H_

#include <functional>

#include "core/base/status.h"
#include "paligemma/v1/paligemma_service.pb.h"

namespace paligemma::client {

// Asks tasks 0 .. count - 1, up to `concurrency` at a time; returns when all are done.
//
// `ask(i)` reads the i-th picture and calls the server, e.g. with Client::Call; it runs on the
// map's threads, so that no more pictures are in memory than calls in flight. `done(i, answer)`
// gets each answer as it comes, one at a time and from any of those threads.
void MapTasks(int count, int concurrency, const std::function<StatusOr<v1::TaskResponse>(int)>& ask,
              const std::function<void(int, const StatusOr<v1::TaskResponse>&)>& done);

}  // namespace paligemma::client

#endif  // CLIENT_MAP_H_
