// SPDX-License-Identifier: Apache-2.0
// Decodes clients' image files to RGB pixels. Every cost is bounded before it is paid.
//
// JPEG, PNG and WebP, told apart by their first bytes and decoded by their own libraries. The
// pixels equal Pillow's convert("RGB"): JPEG by the accurate integer DCT with fancy upsampling,
// alpha dropped and not composited, grey replicated, 16-bit channels cut to their upper byte, CMYK
// multiplied out, colour profiles and gamma ignored; then the EXIF orientation is applied. Differs
// from Pillow in one place: 16-bit grey, where Pillow clips values above 255, is cut to its upper
// byte too.
//
// A truncated or damaged file is refused; missing pixels are never made up. Pure functions, thread
// safe.
#ifndef CORE_VISION_IMAGE_DECODER_H_
#define CORE_VISION_IMAGE_DECODER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/status.h"
#include "core/request/cancellation.h"
#include "core/request/image.h"

namespace paligemma {

// What max_scans in a progressive JPEG and the like are; not configurable.
inline constexpr int kMaxJpegScans = 32;
inline constexpr std::int64_t kMaxMetadataBytes = std::int64_t{1} << 20;
inline constexpr int kMaxPngChunks = 32'768;
inline constexpr std::string_view kAcceptedImageTypes = "image/jpeg,image/png,image/webp";

// Row-major RGB, tightly packed.
struct RgbImage {
  int width = 0, height = 0;
  std::vector<std::uint8_t> pixels;  // [height, width, 3]
};

struct DecodedImage {
  RgbImage image;  // upright
  ImageInfo info;  // of the upright image
};

// `field` is the path of the input in the client's request, e.g. "images[0]", for errors:
// IMAGE_MISSING, IMAGE_FORMAT_UNSUPPORTED, IMAGE_CORRUPT, IMAGE_TOO_LARGE, IMAGE_TOO_COMPLEX,
// FIELD_INVALID (raw pixels whose size does not fit), SERVER_OVERLOADED (no memory). Calls `check`,
// which may be null, every few rows and returns its error. Needs at most about
// kDecodedBytesPerPixel.
StatusOr<DecodedImage> DecodeImage(const ImageInput& input, const ImageLimits& limits,
                                   std::string_view field, const InterruptCheck& check = nullptr);

// Returns how many pixels the header of a picture promises; 0 if the header cannot be read.
// Reads no pixel.
std::int64_t CountPixels(const ImageInput& input);

}  // namespace paligemma

#endif  // CORE_VISION_IMAGE_DECODER_H_
