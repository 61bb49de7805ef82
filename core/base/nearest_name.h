// SPDX-License-Identifier: Apache-2.0
// Suggestions for names that a person mistyped.
#ifndef CORE_BASE_NEAREST_NAME_H_
#define CORE_BASE_NEAREST_NAME_H_

#include <string>
#include <string_view>
#include <vector>

namespace paligemma {

// Returns the name that takes the fewest single-character edits to reach from `word`, where a swap
// of two neighbours counts as one edit. Returns an empty string if each name is further away than
// a third of the word's length: a guess would be noise then.
std::string NearestName(std::string_view word, const std::vector<std::string>& names);

}  // namespace paligemma

#endif  // CORE_BASE_NEAREST_NAME_H_
