// SPDX-License-Identifier: Apache-2.0
// Images on their way from a client to the vision encoder. Values; buffers are shared and
// immutable.
#ifndef CORE_REQUEST_IMAGE_H_
#define CORE_REQUEST_IMAGE_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace paligemma {

enum class PixelFormat { kRgb8, kGray8 };

// An image as a client sends it. Exactly one of `encoded` (a JPEG, PNG or WebP file) and `raw`
// holds bytes.
struct ImageInput {
  std::string encoded;
  struct Raw {
    int width = 0, height = 0;
    PixelFormat format = PixelFormat::kRgb8;
    std::string data;
  } raw;
  bool is_raw = false;
};

// The limits on the cost of a picture. core/vision/image_decoder.h has those of each file format.
inline constexpr int kMaxImageSide = 16'384;  // in pixels

// What a picture needs at most while it is decoded.
inline constexpr std::int64_t kDecodedBytesPerPixel = 8;

struct ImageLimits {
  std::int64_t max_bytes = std::int64_t{16} << 20;  // of the file, or of raw pixels
  std::int64_t max_pixels = 40'000'000;
  int max_side = kMaxImageSide;
};

// A decoded image after EXIF orientation.
struct ImageInfo {
  int width = 0, height = 0;
  int exif_orientation = 1;
  std::string mime_type;  // empty for raw pixels
};

// A rectangle of an image in pixels. x_max and y_max lie one pixel past it. A rectangle may be
// empty or inverted.
struct PixelBox {
  int x_min = 0, y_min = 0, x_max = 0, y_max = 0;
};

// Names what the vision encoder is shown, and to whom: a keyed hash of the resized pixels and the
// scope in which they are shared.
using ImageKey = std::array<std::uint8_t, 32>;

// Ready for the encoder: RGB bytes [size, size, 3], row-major.
struct PreparedImage {
  ImageKey key{};
  int size = 0;
  std::shared_ptr<const std::vector<std::uint8_t>> pixels;
  bool use_cache = true;  // false: neither read nor fill the image cache
};

}  // namespace paligemma

#endif  // CORE_REQUEST_IMAGE_H_
