// SPDX-License-Identifier: Apache-2.0
#include "core/base/build_info.h"

#include "paligemma_commit.h"

namespace paligemma {

const char* BuildVersion() { return PALIGEMMA_VERSION; }
const char* BuildCommit() { return PALIGEMMA_COMMIT; }

}  // namespace paligemma
