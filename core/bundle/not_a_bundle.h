// SPDX-License-Identifier: Apache-2.0
// Says what lies at a path where a bundle is expected, and which command helps. The exporter says
// the same of checkpoints (export/paligemma_export/identify.py). Reads the first bytes of files and
// the names in a folder, nothing else. Pure functions, thread safe.
#ifndef CORE_BUNDLE_NOT_A_BUNDLE_H_
#define CORE_BUNDLE_NOT_A_BUNDLE_H_

#include <string>

namespace paligemma {

// Returns one sentence about a path that is not a bundle: it has no manifest.json.
std::string DescribeNonBundle(const std::string& path);

// Returns true if the file is a git-lfs pointer instead of the content that it stands for.
bool IsLfsPointer(const std::string& path);

}  // namespace paligemma

#endif  // CORE_BUNDLE_NOT_A_BUNDLE_H_
