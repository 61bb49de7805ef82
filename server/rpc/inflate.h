// SPDX-License-Identifier: Apache-2.0
// Inflates compressed messages within a bound.
#ifndef SERVER_RPC_INFLATE_H_
#define SERVER_RPC_INFLATE_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace paligemma::rpc {

// A message may always inflate to this many bytes, and beyond to kMaxInflation times its bytes on
// the wire.
inline constexpr std::int64_t kFreeInflation = 1 << 20;
inline constexpr std::int64_t kMaxInflation = 20;

enum class Encoding { kGzip, kDeflate };  // deflate is zlib's format, as HTTP has it
enum class Inflated { kYes, kDamaged, kTooLarge };

// Replaces `text` with what the pieces inflate to, at most `max_bytes`. `next` returns the next
// piece, which stays valid until the following call, and nullopt at the end. Returns kDamaged
// unless the pieces are exactly one stream of this encoding with its checksum at the end. Throws
// std::bad_alloc.
Inflated Inflate(Encoding encoding, std::int64_t max_bytes,
                 const std::function<std::optional<std::string_view>()>& next, std::string* text);

}  // namespace paligemma::rpc

#endif  // SERVER_RPC_INFLATE_H_
