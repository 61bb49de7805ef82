// SPDX-License-Identifier: Apache-2.0
// The parts that the three codecs share. Private to core/vision.
#ifndef CORE_VISION_CODEC_H_
#define CORE_VISION_CODEC_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/base/status.h"
#include "core/vision/image_decoder.h"

namespace paligemma::vision {

using Bytes = std::span<const std::uint8_t>;

// One file to decode: its bytes and what errors about it say.
struct EncodedImage {
  Bytes bytes;
  ImageLimits limits;
  std::string_view field;
  const InterruptCheck* check = nullptr;

  // Returns the error with which to give up.
  Status Interrupted() const {
    return check == nullptr || *check == nullptr ? OkStatus() : (*check)();
  }
};

// A width and a height that a header promises; zeros if it cannot be read.
struct HeaderSize {
  std::int64_t width = 0, height = 0;
};

// Pixels as stored, and the orientation that was not applied yet.
struct CodecResult {
  RgbImage image;
  int orientation = 1;
};

Status ImageCorrupt(std::string_view field, std::string_view problem);
Status ImageTooComplex(std::string_view field, std::string_view problem, std::int64_t limit);
// Checks a size that a header claims, before anything is allocated for it.
Status CheckImageSize(const EncodedImage& input, std::int64_t width, std::int64_t height);

// REQUIRES: the file begins with the format's magic.
StatusOr<CodecResult> DecodeJpeg(const EncodedImage& input);
StatusOr<CodecResult> DecodePng(const EncodedImage& input);
StatusOr<CodecResult> DecodeWebp(const EncodedImage& input);

// REQUIRES: as above. They look at the header alone.
HeaderSize SizeOfJpeg(Bytes bytes);
HeaderSize SizeOfPng(Bytes bytes);
HeaderSize SizeOfWebp(Bytes bytes);

// The metadata blocks of a file that may hold its orientation. An empty block is absent.
struct OrientationSources {
  Bytes exif;  // a TIFF block, with or without "Exif\0\0" before it
  Bytes xmp;   // XML
};
// Returns the orientation, 1 to 8, as Pillow's exif_transpose finds it: EXIF decides if it has the
// tag, else XMP does. Returns 1 if there is none, or one that no image can have. A damaged block,
// which makes Pillow give up, counts as absent.
int FindOrientation(const OrientationSources& sources);
// Turns stored pixels upright.
RgbImage ApplyOrientation(RgbImage image, int orientation);

inline std::uint32_t BigEndian32(const std::uint8_t* p) {
  return std::uint32_t{p[0]} << 24 | std::uint32_t{p[1]} << 16 | std::uint32_t{p[2]} << 8 | p[3];
}

}  // namespace paligemma::vision

#endif  // CORE_VISION_CODEC_H_
