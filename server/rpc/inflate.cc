// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/inflate.h"

#include <zlib.h>

#include <algorithm>
#include <new>

namespace paligemma::rpc {
namespace {

constexpr std::int64_t kFirstBytes = 64 << 10;
constexpr int kGzipOnly = 15 + 16;  // zlib's notation: the largest window, in gzip's format
constexpr int kZlibOnly = 15;

class Inflater {
 public:
  explicit Inflater(Encoding encoding) {
    const int format = encoding == Encoding::kGzip ? kGzipOnly : kZlibOnly;
    if (inflateInit2(&state_, format) != Z_OK) throw std::bad_alloc();
  }
  ~Inflater() { inflateEnd(&state_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  // Appends what a piece inflates to. Returns kYes also before the stream has ended.
  Inflated Append(std::string_view piece, std::int64_t max_bytes, std::string* text) {
    state_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(piece.data()));
    state_.avail_in = static_cast<uInt>(piece.size());
    while (true) {
      if (ended_) return state_.avail_in == 0 ? Inflated::kYes : Inflated::kDamaged;
      if (written_ == static_cast<std::int64_t>(text->size())) Grow(max_bytes, text);
      const auto room = static_cast<std::int64_t>(text->size()) - written_;
      state_.next_out = reinterpret_cast<Bytef*>(text->data() + written_);
      state_.avail_out = static_cast<uInt>(room);
      const int result = inflate(&state_, Z_NO_FLUSH);
      written_ += room - static_cast<std::int64_t>(state_.avail_out);
      if (written_ > max_bytes) return Inflated::kTooLarge;
      if (result == Z_MEM_ERROR) throw std::bad_alloc();
      if (result == Z_STREAM_END) {
        ended_ = true;
      } else if (result != Z_OK && result != Z_BUF_ERROR) {
        return Inflated::kDamaged;
      } else if (state_.avail_out != 0) {
        return Inflated::kYes;  // waits for the next piece
      }
    }
  }

  bool ended() const { return ended_; }
  std::int64_t written() const { return written_; }

 private:
  // One byte more than allowed tells that there are too many.
  static void Grow(std::int64_t max_bytes, std::string* text) {
    const auto size = static_cast<std::int64_t>(text->size());
    text->resize(
        static_cast<std::size_t>(std::min(max_bytes + 1, std::max(kFirstBytes, 2 * size))));
  }

  z_stream state_{};
  std::int64_t written_ = 0;
  bool ended_ = false;
};

}  // namespace

Inflated Inflate(Encoding encoding, std::int64_t max_bytes,
                 const std::function<std::optional<std::string_view>()>& next, std::string* text) {
  text->clear();
  Inflater inflater(encoding);
  while (const std::optional<std::string_view> piece = next()) {
    const Inflated result = inflater.Append(*piece, max_bytes, text);
    if (result != Inflated::kYes) return result;
  }
  text->resize(static_cast<std::size_t>(inflater.written()));
  return inflater.ended() ? Inflated::kYes : Inflated::kDamaged;
}

}  // namespace paligemma::rpc
