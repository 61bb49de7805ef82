// SPDX-License-Identifier: Apache-2.0
#include "client/map.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "core/base/mutex.h"

namespace paligemma::client {

void MapTasks(int count, int concurrency, const std::function<StatusOr<v1::TaskResponse>(int)>& ask,
              const std::function<void(int, const StatusOr<v1::TaskResponse>&)>& done) {
  std::atomic<int> next{0};
  Mutex done_mutex;
  std::vector<std::thread> threads;
  for (int i = 0; i < std::min(count, concurrency); ++i) {
    threads.emplace_back([&] {
      for (int k = next++; k < count; k = next++) {
        const StatusOr<v1::TaskResponse> answer = ask(k);
        MutexLock lock(&done_mutex);
        done(k, answer);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace paligemma::client
