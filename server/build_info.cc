// SPDX-License-Identifier: Apache-2.0
#include "server/build_info.h"

#include "build_commit.h"  // written by cmake/WriteCommit.cmake

namespace paligemma {

const BuildInfo kBuildInfo = {PALIGEMMA_VERSION, PALIGEMMA_COMMIT};

}  // namespace paligemma
