// SPDX-License-Identifier: Apache-2.0
// The operators of this build. Whoever includes this links every kernel in: they are registered by
// static objects that an archive would drop otherwise.
#ifndef CORE_MODEL_OPS_LIBRARY_H_
#define CORE_MODEL_OPS_LIBRARY_H_

#include <string>
#include <vector>

#include "core/base/status.h"

namespace paligemma::ops {

// Checks the schemas that a module was exported with, as operators.txt has them, against those of
// this build: each operator must exist and accept every call that the old schema allowed.
// FAILED_PRECONDITION names the first that does not.
Status CheckSchemas(const std::vector<std::string>& exported);

}  // namespace paligemma::ops

#endif  // CORE_MODEL_OPS_LIBRARY_H_
