// SPDX-License-Identifier: Apache-2.0
// The integers that name tokens, blocks and sequences in the engine.
#ifndef CORE_BASE_TYPES_H_
#define CORE_BASE_TYPES_H_

#include <cstdint>

namespace paligemma {

using TokenId = std::int32_t;
using BlockId = std::int32_t;
using RequestId = std::uint64_t;   // never reused within a process; 0 names none
using SequenceId = std::uint64_t;  // likewise

inline constexpr SequenceId kNoSequence = 0;

}  // namespace paligemma

#endif  // CORE_BASE_TYPES_H_
