// SPDX-License-Identifier: Apache-2.0
// The model as front ends see it, narrow enough for a fake. Thread safe.
#ifndef CORE_HOST_BACKEND_H_
#define CORE_HOST_BACKEND_H_

#include <cstdint>
#include <memory>

#include "core/base/status.h"
#include "core/request/request.h"

namespace paligemma {

class Backend {
 public:
  using Handle = std::uint64_t;
  virtual ~Backend() = default;

  // Takes the request, or refuses it at once: by the rules of core/request/validate.h, or because
  // there is no room. After success the sink gets exactly one OnDone, perhaps before this returns.
  // After an error the sink is never called.
  virtual StatusOr<Handle> Submit(Request request, std::shared_ptr<ResponseSink> sink) = 0;
  // Ends the request soon with CANCELLED; has no effect once the request has ended.
  virtual void Cancel(Handle handle) = 0;
};

}  // namespace paligemma

#endif  // CORE_HOST_BACKEND_H_
