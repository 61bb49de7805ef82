// SPDX-License-Identifier: Apache-2.0
// Names the version of the source that a program was built from.
#ifndef CORE_BASE_BUILD_INFO_H_
#define CORE_BASE_BUILD_INFO_H_

namespace paligemma {

// Returns the semantic version that the file VERSION holds.
const char* BuildVersion();
// Returns the abbreviated commit, with "-dirty" if the tree differed from it, or "unknown" if there
// was no git.
const char* BuildCommit();

}  // namespace paligemma

#endif  // CORE_BASE_BUILD_INFO_H_
