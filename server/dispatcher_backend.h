// SPDX-License-Identifier: Apache-2.0
// The engine as the services see it.
#ifndef SERVER_DISPATCHER_BACKEND_H_
#define SERVER_DISPATCHER_BACKEND_H_

#include <memory>
#include <utility>

#include "core/engine/dispatcher.h"
#include "server/backend.h"

namespace paligemma {

// Shares the dispatcher with who started it. Thread safe, as the dispatcher is.
class DispatcherBackend : public Backend {
 public:
  explicit DispatcherBackend(std::shared_ptr<Dispatcher> dispatcher)
      : dispatcher_(std::move(dispatcher)) {}
  StatusOr<Handle> Submit(Request request, std::shared_ptr<ResponseSink> sink) override {
    return dispatcher_->Submit(std::move(request), std::move(sink));
  }
  void Cancel(Handle handle) override { dispatcher_->Cancel(handle); }

 private:
  const std::shared_ptr<Dispatcher> dispatcher_;
};

}  // namespace paligemma

#endif  // SERVER_DISPATCHER_BACKEND_H_
