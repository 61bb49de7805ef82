// SPDX-License-Identifier: Apache-2.0
// What this program was built from.
#ifndef SERVER_BUILD_INFO_H_
#define SERVER_BUILD_INFO_H_

namespace paligemma {

struct BuildInfo {
  const char* version;  // semantic, from VERSION
  const char* commit;   // short, "-dirty" behind it after changes; "unknown" without git
};

extern const BuildInfo kBuildInfo;

}  // namespace paligemma

#endif  // SERVER_BUILD_INFO_H_
