// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/inflate.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>

namespace paligemma::rpc {
namespace {

std::string Deflated(Encoding encoding, const std::string& text) {
  z_stream state{};
  deflateInit2(&state, 9, Z_DEFLATED, encoding == Encoding::kGzip ? 15 + 16 : 15, 8,
               Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&state, text.size()), '\0');
  state.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  state.avail_in = static_cast<uInt>(text.size());
  state.next_out = reinterpret_cast<Bytef*>(out.data());
  state.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&state, Z_FINISH), Z_STREAM_END);
  out.resize(state.total_out);
  deflateEnd(&state);
  return out;
}

struct Result {
  Inflated inflated;
  std::string text;
};

Result InflateInPieces(Encoding encoding, std::string_view bytes, std::int64_t max_bytes,
                       std::size_t piece_size) {
  Result result;
  std::size_t at = 0;
  result.inflated = Inflate(
      encoding, max_bytes,
      [&]() -> std::optional<std::string_view> {
        if (at == bytes.size()) return std::nullopt;
        const std::string_view piece = bytes.substr(at, piece_size);
        at += piece.size();
        return piece;
      },
      &result.text);
  return result;
}

class InflateTest : public ::testing::TestWithParam<Encoding> {
 protected:
  const std::string text_ = std::string(200'000, 'a') + "the end";
  const std::string bytes_ = Deflated(GetParam(), text_);
  const std::int64_t size_ = static_cast<std::int64_t>(text_.size());
};

TEST_P(InflateTest, PiecesOfAnySizeBecomeTheText) {
  for (const std::size_t piece_size : {1, 7, 1000, 1'000'000}) {
    const Result result = InflateInPieces(GetParam(), bytes_, size_, piece_size);
    EXPECT_EQ(result.inflated, Inflated::kYes);
    EXPECT_EQ(result.text, text_);
  }
}

TEST_P(InflateTest, AByteAboveTheBoundIsTooLarge) {
  const Result result = InflateInPieces(GetParam(), bytes_, size_ - 1, 1000);
  EXPECT_EQ(result.inflated, Inflated::kTooLarge);
  EXPECT_LE(result.text.size(), text_.size());
}

TEST_P(InflateTest, AnIncompleteStreamIsDamaged) {
  for (std::size_t missing = 1; missing <= bytes_.size(); ++missing) {
    const std::string_view cut(bytes_.data(), bytes_.size() - missing);
    EXPECT_EQ(InflateInPieces(GetParam(), cut, size_, 1000).inflated, Inflated::kDamaged)
        << missing;
  }
}

TEST_P(InflateTest, BytesBehindTheStreamAreDamage) {
  EXPECT_EQ(InflateInPieces(GetParam(), bytes_ + "x", size_, 1000).inflated, Inflated::kDamaged);
  EXPECT_EQ(InflateInPieces(GetParam(), bytes_ + bytes_, 2 * size_, 1000).inflated,
            Inflated::kDamaged);
}

TEST_P(InflateTest, TheOtherEncodingIsDamage) {
  const Encoding other = GetParam() == Encoding::kGzip ? Encoding::kDeflate : Encoding::kGzip;
  EXPECT_EQ(InflateInPieces(other, bytes_, size_, 1000).inflated, Inflated::kDamaged);
}

TEST_P(InflateTest, AnEmptyTextIsOne) {
  const Result result = InflateInPieces(GetParam(), Deflated(GetParam(), ""), 0, 1000);
  EXPECT_EQ(result.inflated, Inflated::kYes);
  EXPECT_EQ(result.text, "");
}

INSTANTIATE_TEST_SUITE_P(Encodings, InflateTest,
                         ::testing::Values(Encoding::kGzip, Encoding::kDeflate));

}  // namespace
}  // namespace paligemma::rpc
