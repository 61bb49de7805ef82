// SPDX-License-Identifier: Apache-2.0
#include "core/vision/image_decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <sstream>

#include "core/request/endings.h"
#include "tests/core/base/sha256.h"
#include "tests/core/vision/pictures.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace paligemma {
namespace {

using ::testing::Contains;
using ::testing::Pair;

constexpr std::string_view kField = "images[0].content";

struct Expected {
  std::string name;
  int width, height, orientation;
  std::string sha256;
};

std::vector<Expected> ReadExpected() {
  std::istringstream stream(ReadPicture("expected.txt"));
  std::vector<Expected> all;
  for (Expected e; stream >> e.name >> e.width >> e.height >> e.orientation >> e.sha256;)
    all.push_back(e);
  return all;
}

Status ErrorOf(std::string bytes, const ImageLimits& limits = {}) {
  return DecodeImage(Encoded(std::move(bytes)), limits, kField).status();
}

TEST(ImageDecoderTest, EveryKindOfFileHasPillowsPixels) {
  const auto all = ReadExpected();
  ASSERT_GE(all.size(), 100u);
  for (const Expected& expected : all) {
    const auto decoded = DecodeImage(Encoded(ReadPicture(expected.name)), {}, kField);
    ASSERT_TRUE(decoded.ok()) << expected.name << ": " << decoded.status().ToString();
    EXPECT_EQ(decoded->info.width, expected.width) << expected.name;
    EXPECT_EQ(decoded->info.height, expected.height) << expected.name;
    EXPECT_EQ(decoded->info.exif_orientation, expected.orientation) << expected.name;
    EXPECT_EQ(Sha256(decoded->image.pixels), expected.sha256) << expected.name;
  }
}

TEST(ImageDecoderTest, TheTypeIsSniffedFromTheBytes) {
  const auto type = [](const char* name) {
    return DecodeImage(Encoded(ReadPicture(name)), {}, kField)->info.mime_type;
  };
  EXPECT_EQ(type("grey.jpg"), "image/jpeg");
  EXPECT_EQ(type("grey.png"), "image/png");
  EXPECT_EQ(type("lossy.webp"), "image/webp");
}

TEST(ImageDecoderTest, NoBytesAreAMissingImage) {
  EXPECT_EQ(ErrorOf("").reason(), Reason::kImageMissing);
  ImageInput raw;
  raw.is_raw = true;
  EXPECT_EQ(DecodeImage(raw, {}, kField).status().reason(), Reason::kImageMissing);
}

TEST(ImageDecoderTest, OtherFormatsAreRefusedWithTheAcceptedOnes) {
  for (const char* bytes :
       {"GIF89a", "BM", "II*", "<svg>", "hello world", "\xFF\xD8", "RIFF....WAVE"}) {
    const Status status = ErrorOf(bytes);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(status.reason(), Reason::kImageFormatUnsupported) << bytes;
    EXPECT_THAT(status.metadata(), Contains(Pair("field", "images[0].content")));
    EXPECT_THAT(status.metadata(), Contains(Pair("accepted", "image/jpeg,image/png,image/webp")));
  }
}

// foreign/expected.txt has a file and a word of its description in each line.
TEST(ImageDecoderTest, WhatCameInPlaceOfAPictureIsNamed) {
  std::istringstream lines(ReadFile("foreign/expected.txt"));
  int count = 0;
  for (std::string name, word; std::getline(lines, name, '\t') && std::getline(lines, word);) {
    const Status status = ErrorOf(ReadFile("foreign/" + name));
    EXPECT_EQ(status.reason(), Reason::kImageFormatUnsupported) << name;
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(word)) << name;
    EXPECT_THAT(status.metadata(), Contains(Pair("field", "images[0].content"))) << name;
    ++count;
  }
  EXPECT_GE(count, 40);
}

TEST(ImageDecoderTest, AFileCutAnywhereIsCorrupt) {
  for (const Expected& expected : ReadExpected()) {
    const std::string whole = ReadPicture(expected.name);
    for (std::size_t percent : {10, 50, 80, 99}) {
      // exif6.webp: behind the pixels stands metadata, but the container is not whole either.
      const Status status = ErrorOf(whole.substr(0, whole.size() * percent / 100));
      EXPECT_EQ(status.reason(), Reason::kImageCorrupt) << expected.name << " " << percent << " %";
    }
  }
}

TEST(ImageDecoderTest, OnlyMagicBytesAreCorrupt) {
  for (const std::string& bytes :
       {std::string("\xFF\xD8\xFF\xE0"), std::string("\x89PNG\r\n\x1A\n"),
        std::string("RIFF\0\0\0\0WEBP", 12), std::string("RIFF\x04\0\0\0WEBP", 12)}) {
    EXPECT_EQ(ErrorOf(bytes).reason(), Reason::kImageCorrupt);
  }
}

TEST(ImageDecoderTest, AFlippedBitInPngDataIsFound) {
  std::string bytes = ReadPicture("rgb.png");
  bytes[bytes.find("IDAT") + 40] ^= 1;
  EXPECT_EQ(ErrorOf(bytes).reason(), Reason::kImageCorrupt);
}

TEST(ImageDecoderTest, LimitsHoldBeforeDecoding) {
  const std::string picture = ReadPicture("baseline444.jpg");
  EXPECT_EQ(ErrorOf(picture, {.max_bytes = 100}).reason(), Reason::kImageTooLarge);
  EXPECT_THAT(ErrorOf(picture, {.max_bytes = 100}).metadata(), Contains(Pair("limit", "100")));
  for (const char* name : {"baseline444.jpg", "rgb.png", "lossy.webp", "lossless.webp"}) {
    EXPECT_EQ(ErrorOf(ReadPicture(name), {.max_pixels = 1000}).reason(), Reason::kImageTooLarge);
    EXPECT_EQ(ErrorOf(ReadPicture(name), {.max_side = 36}).reason(), Reason::kImageTooLarge);
    const Status status = ErrorOf(ReadPicture(name), {.max_pixels = 37 * 29});
    EXPECT_TRUE(status.ok()) << status.ToString();
  }
}

TEST(ImageDecoderTest, RawPixelsAreTakenAsTheyAre) {
  ImageInput input;
  input.is_raw = true;
  input.raw = {.width = 2, .height = 1, .format = PixelFormat::kRgb8, .data = "abcdef"};
  const auto rgb = DecodeImage(input, {}, kField);
  ASSERT_TRUE(rgb.ok());
  EXPECT_EQ(std::string(rgb->image.pixels.begin(), rgb->image.pixels.end()), "abcdef");
  EXPECT_EQ(rgb->info.mime_type, "");
  input.raw = {.width = 2, .height = 1, .format = PixelFormat::kGray8, .data = "ab"};
  const auto grey = DecodeImage(input, {}, kField);
  EXPECT_EQ(std::string(grey->image.pixels.begin(), grey->image.pixels.end()), "aaabbb");
}

TEST(ImageDecoderTest, RawPixelsMustFitTheirSize) {
  ImageInput input;
  input.is_raw = true;
  for (auto [width, height] : {std::pair{3, 1}, {0, 1}, {-1, -1}, {1, 2}}) {
    input.raw = {.width = width, .height = height, .format = PixelFormat::kRgb8, .data = "abcdef"};
    const Status status = DecodeImage(input, {}, kField).status();
    EXPECT_EQ(status.ok(), width == 1) << width;
    EXPECT_EQ(status.reason(), width == 1 ? Reason::kNone : Reason::kFieldInvalid);
  }
  input.raw.width = input.raw.height = 1 << 30;
  EXPECT_EQ(DecodeImage(input, {}, kField).status().reason(), Reason::kImageTooLarge);
}

// What the fuzz target promises holds for the corpus, and for damage all over it.
TEST(ImageDecoderTest, DamagedFilesAreRefusedOrDecodedNeverWorse) {
  std::mt19937 random(5);
  for (const Expected& expected : ReadExpected()) {
    const std::string whole = ReadPicture(expected.name);
    for (int i = 0; i < 60; ++i) {
      std::string bytes = whole;
      for (auto n = random() % 4; n > 0; --n)
        bytes[random() % bytes.size()] = static_cast<char>(random());
      if (i % 3 == 0) bytes.resize(random() % bytes.size());
      EXPECT_EQ(
          LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()),
          0);
    }
  }
}

TEST(ImageDecoderTest, TheHeaderOfEveryFileTellsItsPixels) {
  for (const Expected& expected : ReadExpected()) {
    EXPECT_EQ(CountPixels(Encoded(ReadPicture(expected.name))),
              std::int64_t{expected.width} * expected.height)
        << expected.name;
  }
  ImageInput raw;
  raw.is_raw = true;
  raw.raw.width = 30;
  raw.raw.height = 20;
  EXPECT_EQ(CountPixels(raw), 600);
}

TEST(ImageDecoderTest, AFileWithoutAReadableHeaderHasNoPixels) {
  for (const char* name : {"baseline420.jpg", "grey.png", "lossy.webp"}) {
    const std::string bytes = ReadPicture(name);
    for (std::size_t size = 0; size < 24; ++size) {
      EXPECT_GE(CountPixels(Encoded(bytes.substr(0, size))), 0) << name << " " << size;
    }
  }
  EXPECT_EQ(CountPixels(Encoded("GIF89a")), 0);
}

// Says to go on `num_times` times.
InterruptCheck GivesUpAfter(int num_times, int* num_calls) {
  return [=] { return (*num_calls)++ < num_times ? OkStatus() : DeadlineStatus("preprocess"); };
}

TEST(ImageDecoderTest, DecodingEndsBetweenRowsWhenItIsNotWantedAnyMore) {
  for (const char* name : {"baseline420.jpg", "progressive.jpg", "cmyk.jpg", "rgb16.png",
                           "interlaced.png", "lossy.webp", "lossless.webp"}) {
    const ImageInput input = Encoded(ReadPicture(name));
    int num_calls = 0;
    ASSERT_TRUE(DecodeImage(input, {}, kField, GivesUpAfter(1 << 20, &num_calls)).ok()) << name;
    ASSERT_GT(num_calls, 0) << name;
    const int all = num_calls;
    for (int wanted = 0; wanted < all; ++wanted) {
      num_calls = 0;
      const Status status =
          DecodeImage(input, {}, kField, GivesUpAfter(wanted, &num_calls)).status();
      EXPECT_EQ(status.code(), StatusCode::kDeadlineExceeded) << name << " " << wanted;
      EXPECT_EQ(num_calls, wanted + 1) << name << ": nothing more is asked, or done";
    }
  }
}

// libjpeg takes its bound of memory from JPEGMEM, in kilobytes.
TEST(ImageDecoderTest, NoMemoryForAJpegIsNotADamagedFile) {
  ASSERT_EQ(setenv("JPEGMEM", "1", /*overwrite=*/1), 0);
  const Status status = ErrorOf(ReadPicture("progressive_tall.jpg"));
  unsetenv("JPEGMEM");
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_EQ(status.reason(), Reason::kServerOverloaded);
  EXPECT_GT(status.retry_after().count(), 0);
}

}  // namespace
}  // namespace paligemma
