// SPDX-License-Identifier: Apache-2.0
// Files made to cost much: each is refused early, or decoded within bounds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <zlib.h>

#include <chrono>

#include "core/vision/image_decoder.h"
#include "tests/core/vision/pictures.h"

namespace paligemma {
namespace {

std::string Big32(std::uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16),
          static_cast<char>(value >> 8), static_cast<char>(value)};
}

std::string Chunk(const std::string& type, const std::string& data) {
  const std::string body = type + data;
  const auto crc =
      crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
  return Big32(static_cast<std::uint32_t>(data.size())) + body +
         Big32(static_cast<std::uint32_t>(crc));
}

std::string Deflate(const std::string& data) {
  uLongf size = compressBound(data.size());
  std::string out(size, 0);
  compress2(reinterpret_cast<Bytef*>(out.data()), &size,
            reinterpret_cast<const Bytef*>(data.data()), data.size(), 9);
  out.resize(size);
  return out;
}

const std::string kSignature = "\x89PNG\r\n\x1A\n";

std::string Header(std::uint32_t width, std::uint32_t height, int depth, int color) {
  return Chunk("IHDR", Big32(width) + Big32(height) + static_cast<char>(depth) +
                           static_cast<char>(color) + std::string(3, 0));
}

// A grey 1 x 1 PNG with `extra` chunks before its data.
std::string Pixel(const std::string& extra) {
  return kSignature + Header(1, 1, 8, 0) + extra +
         Chunk("IDAT", Deflate(std::string("\0\x7F", 2))) + Chunk("IEND", "");
}

StatusOr<DecodedImage> Decode(std::string bytes) {
  return DecodeImage(Encoded(std::move(bytes)), {}, "image");
}

long PeakKib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

TEST(ImageBombsTest, SizesAreRefusedFromTheHeader) {
  const long before = PeakKib();
  for (auto [width, height] : {std::pair{30000u, 30000u},
                               {1u, 1048577u},
                               {16384u, 16384u},
                               {0x7FFFFFFFu, 0x7FFFFFFFu},
                               {16385u, 1u}}) {
    const std::string bytes =
        kSignature + Header(width, height, 1, 0) + Chunk("IDAT", "x") + Chunk("IEND", "");
    EXPECT_EQ(Decode(bytes).status().reason(), Reason::kImageTooLarge) << width;
  }
  EXPECT_LT(PeakKib() - before, 5 * 1024);
}

TEST(ImageBombsTest, CompressedTextIsNotInflated) {
  const std::string zeros(64 << 20, 0);
  const std::string text = Deflate(zeros);
  const long before = PeakKib();
  const std::string bomb = Chunk("zTXt", std::string("a\0\0", 3) + text) +
                           Chunk("iCCP", std::string("a\0\0", 3) + text) +
                           Chunk("iTXt", std::string("a\0\1\0\0\0", 6) + text);
  const auto decoded = Decode(Pixel(bomb));
  EXPECT_TRUE(decoded.ok()) << decoded.status().ToString();
  EXPECT_LT(PeakKib() - before, 16 * 1024);
}

TEST(ImageBombsTest, TooManyChunksAreTooComplex) {
  std::string chunks;
  for (int i = 0; i < 40000; ++i) chunks += Chunk("teSt", "");
  EXPECT_EQ(Decode(Pixel(chunks)).status().reason(), Reason::kImageTooComplex);
}

TEST(ImageBombsTest, ManyScansAreTooComplex) {
  const std::string picture = ReadPicture("progressive.jpg");
  const std::size_t last_scan = picture.rfind("\xFF\xDA");
  const std::string scan = picture.substr(last_scan, picture.size() - 2 - last_scan);
  std::string bomb = picture.substr(0, picture.size() - 2);
  for (int i = 0; i < 1000; ++i) bomb += scan;
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(Decode(bomb + "\xFF\xD9").status().reason(), Reason::kImageTooComplex);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
}

TEST(ImageBombsTest, LargeMetadataInJpegCostsNothing) {
  const std::string picture = ReadPicture("baseline420.jpg");
  std::string segment = std::string("\xFF\xE1\xFF\xFF", 4) + "Exif" + std::string(65529, 0);
  std::string bytes = picture.substr(0, 2);
  for (int i = 0; i < 100; ++i) bytes += segment;
  const auto decoded = Decode(bytes + picture.substr(2));
  EXPECT_TRUE(decoded.ok()) << decoded.status().ToString();
}

TEST(ImageBombsTest, DamagedExifIsNoOrientation) {
  for (const std::string& tiff :
       {std::string("II*\0\xFF\xFF\xFF\xFF", 8), std::string("MM\0*\0\0\0\x08\xFF\xFF", 10),
        std::string("II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\x09\0\0\0", 22), std::string("x")}) {
    const auto decoded = Decode(Pixel(Chunk("eXIf", tiff)));
    ASSERT_TRUE(decoded.ok());
    EXPECT_EQ(decoded->info.exif_orientation, 1);
  }
}

TEST(ImageBombsTest, SixteenBitGreyIsCutToItsUpperByte) {
  const std::string bytes = kSignature + Header(2, 1, 16, 0) +
                            Chunk("IDAT", Deflate(std::string("\0\x12\x34\xFF\x01", 5))) +
                            Chunk("IEND", "");
  const auto decoded = Decode(bytes);
  ASSERT_TRUE(decoded.ok());
  EXPECT_THAT(decoded->image.pixels, testing::ElementsAre(0x12, 0x12, 0x12, 0xFF, 0xFF, 0xFF));
}

TEST(ImageBombsTest, AManyTimesInflatedPictureIsGivenUpWithinAFewRows) {
  constexpr std::uint32_t kSide = 1024;
  const std::string bytes = kSignature + Header(kSide, kSide, 8, 0) +
                            Chunk("IDAT", Deflate(std::string(kSide * (kSide + 1), 0))) +
                            Chunk("IEND", "");
  int num_calls = 0;
  const InterruptCheck check = [&num_calls] {
    ++num_calls;
    return OkStatus();
  };
  ASSERT_TRUE(DecodeImage(Encoded(bytes), {}, "image", check).ok());
  EXPECT_GE(num_calls, static_cast<int>(kSide) / 16);
}

}  // namespace
}  // namespace paligemma
