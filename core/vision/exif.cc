// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "core/vision/codec.h"

namespace paligemma::vision {
namespace {

constexpr std::uint16_t kOrientationTag = 0x0112;
constexpr std::uint16_t kShortType = 3;

// Bounds-checked reads of either byte order; out of bounds reads 0.
class TiffReader {
 public:
  TiffReader(Bytes bytes, bool little) : bytes_(bytes), little_(little) {}

  std::uint32_t Read(std::size_t at, int size) const {
    if (at > bytes_.size() || bytes_.size() - at < static_cast<std::size_t>(size)) return 0;
    std::uint32_t value = 0;
    for (int i = 0; i < size; ++i) {
      const int index = little_ ? size - 1 - i : i;
      value = value << 8 | bytes_[at + static_cast<std::size_t>(index)];
    }
    return value;
  }

 private:
  const Bytes bytes_;
  const bool little_;
};

}  // namespace

int ExifOrientation(Bytes tiff) {
  if (tiff.size() < 8) return 1;
  const bool little = tiff[0] == 'I' && tiff[1] == 'I';
  if (!little && !(tiff[0] == 'M' && tiff[1] == 'M')) return 1;
  const TiffReader reader(tiff, little);
  if (reader.Read(2, 2) != 42) return 1;
  const std::size_t directory = reader.Read(4, 4);
  const std::uint32_t num_entries = reader.Read(directory, 2);
  for (std::uint32_t i = 0; i < num_entries; ++i) {
    const std::size_t entry = directory + 2 + std::size_t{12} * i;
    if (entry + 12 > tiff.size()) return 1;
    if (reader.Read(entry, 2) != kOrientationTag) continue;
    const std::uint32_t value = reader.Read(entry + 8, 2);
    const bool good = reader.Read(entry + 2, 2) == kShortType && value >= 1 && value <= 8;
    return good ? static_cast<int>(value) : 1;
  }
  return 1;
}

RgbImage ApplyOrientation(RgbImage image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  // Orientation - 1 in bits: 5 to 8 swap the axes; then which of x and y of the stored image run
  // backwards.
  const bool swap = orientation >= 5;
  const bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  RgbImage upright;
  upright.width = swap ? image.height : image.width;
  upright.height = swap ? image.width : image.height;
  upright.pixels.resize(image.pixels.size());
  std::uint8_t* out = upright.pixels.data();
  for (int y = 0; y < upright.height; ++y) {
    for (int x = 0; x < upright.width; ++x) {
      int from_x = swap ? y : x;
      int from_y = swap ? x : y;
      if (flip_x) from_x = image.width - 1 - from_x;
      if (flip_y) from_y = image.height - 1 - from_y;
      const std::size_t at =
          (static_cast<std::size_t>(from_y) * static_cast<std::size_t>(image.width) +
           static_cast<std::size_t>(from_x)) *
          3;
      out[0] = image.pixels[at];
      out[1] = image.pixels[at + 1];
      out[2] = image.pixels[at + 2];
      out += 3;
    }
  }
  return upright;
}

}  // namespace paligemma::vision
