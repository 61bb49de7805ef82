// SPDX-License-Identifier: Apache-2.0
// Which version of the source a program was built from.
#ifndef CORE_BASE_BUILD_INFO_H_
#define CORE_BASE_BUILD_INFO_H_

namespace paligemma {

// Semantic version, of the file VERSION.
const char* BuildVersion();
// Abbreviated commit, with "-dirty" when the tree differed from it; "unknown" without git.
const char* BuildCommit();

}  // namespace paligemma

#endif  // CORE_BASE_BUILD_INFO_H_
