// SPDX-License-Identifier: Apache-2.0
// The engine as the service sees it, narrow enough for a fake. Thread safe.
#ifndef SERVER_BACKEND_H_
#define SERVER_BACKEND_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/base/status.h"
#include "core/bundle/manifest.h"
#include "core/request/request.h"

namespace paligemma {

class Backend {
 public:
  using Handle = std::uint64_t;
  virtual ~Backend() = default;

  // Takes the request or refuses it at once. After success the sink gets exactly one OnDone,
  // perhaps before this returns; after an error it is never called.
  virtual StatusOr<Handle> Submit(Request request, std::shared_ptr<ResponseSink> sink) = 0;
  // Ends the request soon with CANCELLED; without effect once it is done.
  virtual void Cancel(Handle handle) = 0;
};

}  // namespace paligemma

#endif  // SERVER_BACKEND_H_
