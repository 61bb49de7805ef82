// SPDX-License-Identifier: Apache-2.0
#include <bit>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "core/vision/codec.h"

namespace paligemma::vision {
namespace {

constexpr std::uint32_t kOrientationTag = 0x0112;

// Reads numbers in the block's byte order. A number out of bounds reads as 0.
class TiffReader {
 public:
  TiffReader(Bytes bytes, bool little) : bytes_(bytes), little_(little) {}

  bool Holds(std::size_t at, std::size_t size) const {
    return at <= bytes_.size() && bytes_.size() - at >= size;
  }
  std::uint64_t Read(std::size_t at, std::size_t size) const {
    if (!Holds(at, size)) return 0;
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < size; ++i) {
      value = value << 8 | bytes_[at + (little_ ? size - 1 - i : i)];
    }
    return value;
  }

 private:
  const Bytes bytes_;
  const bool little_;
};

// The types of values in TIFF. kLong8 belongs to BigTIFF, but Pillow reads it here too.
enum Type : std::uint64_t {
  kByte = 1,
  kAscii,
  kShort,
  kLong,
  kRational,
  kSignedByte,
  kUndefined,
  kSignedShort,
  kSignedLong,
  kSignedRational,
  kFloat,
  kDouble,
  kIfd,
  kLong8 = 16,
};

// Bytes of one value; 0: no type that Pillow knows.
std::size_t SizeOf(std::uint64_t type) {
  switch (type) {
    case kByte:
    case kAscii:
    case kSignedByte:
    case kUndefined:
      return 1;
    case kShort:
    case kSignedShort:
      return 2;
    case kLong:
    case kSignedLong:
    case kFloat:
    case kIfd:
      return 4;
    case kRational:
    case kSignedRational:
    case kDouble:
    case kLong8:
      return 8;
    default:
      return 0;
  }
}

// Returns the number at `at` if it is a whole one from 1 to 8, else 0. Bytes and text are no
// numbers.
int SmallNumber(const TiffReader& reader, std::size_t at, std::uint64_t type) {
  double value = 0;
  switch (type) {
    case kShort:
    case kSignedShort:
    case kSignedByte:
    case kLong:
    case kSignedLong:
    case kIfd:
    case kLong8: {
      const std::uint64_t number = reader.Read(at, SizeOf(type));
      return number <= 8 ? static_cast<int>(number) : 0;  // a negative one reads as a large one
    }
    case kRational:
    case kSignedRational: {
      const auto part = [&](std::size_t from) {
        const auto bits = static_cast<std::uint32_t>(reader.Read(from, 4));
        return type == kRational ? std::int64_t{bits}
                                 : std::int64_t{static_cast<std::int32_t>(bits)};
      };
      const std::int64_t denominator = part(at + 4);
      if (denominator == 0 || part(at) % denominator != 0) return 0;
      const std::int64_t whole = part(at) / denominator;
      return whole >= 1 && whole <= 8 ? static_cast<int>(whole) : 0;
    }
    case kFloat:
      value = std::bit_cast<float>(static_cast<std::uint32_t>(reader.Read(at, 4)));
      break;
    case kDouble:
      value = std::bit_cast<double>(reader.Read(at, 8));
      break;
    default:
      return 0;
  }
  for (int whole = 1; whole <= 8; ++whole) {
    if (value == whole) return whole;
  }
  return 0;
}

// Returns the orientation of the first directory; 0 for a value that no image can have, and
// nothing if the tag is not there. As in Pillow the last of several tags counts, of several values
// the first, and nothing behind a tag whose values lie outside the block.
std::optional<int> ExifOrientation(Bytes tiff) {
  if (tiff.size() < 8) return std::nullopt;
  const bool little = tiff[0] == 'I' && tiff[1] == 'I';
  if (!little && !(tiff[0] == 'M' && tiff[1] == 'M')) return std::nullopt;
  const TiffReader reader(tiff, little);
  const std::uint64_t version = reader.Read(2, 2);
  if (version != 42 && version != 42 << 8)
    return std::nullopt;  // some write it the wrong way round
  const std::size_t directory = reader.Read(4, 4);
  const std::uint64_t num_entries = reader.Read(directory, 2);
  std::optional<int> found;
  for (std::uint64_t i = 0; i < num_entries; ++i) {
    const std::size_t entry = directory + 2 + std::size_t{12} * i;
    if (!reader.Holds(entry, 12)) break;
    const std::uint64_t type = reader.Read(entry + 2, 2);
    const std::size_t size = SizeOf(type) * reader.Read(entry + 4, 4);
    if (size == 0) continue;
    const std::size_t at = size > 4 ? reader.Read(entry + 8, 4) : entry + 8;
    if (!reader.Holds(at, size)) break;
    if (reader.Read(entry, 2) == kOrientationTag) found = SmallNumber(reader, at, type);
  }
  return found;
}

// Returns the digit of the first tiff:Orientation="N" or <tiff:Orientation>N; 0 if there is none.
int XmpOrientation(Bytes xmp) {
  constexpr std::string_view kName = "tiff:Orientation";
  const std::string_view text(reinterpret_cast<const char*>(xmp.data()), xmp.size());
  for (std::size_t at = text.find(kName); at != text.npos; at = text.find(kName, at + 1)) {
    std::string_view rest = text.substr(at + kName.size());
    if (!rest.starts_with("=\"") && !rest.starts_with(">")) continue;
    rest.remove_prefix(rest[0] == '=' ? 2 : 1);
    if (!rest.empty() && rest[0] >= '0' && rest[0] <= '9') return rest[0] - '0';
  }
  return 0;
}

}  // namespace

int FindOrientation(const OrientationSources& sources) {
  constexpr std::string_view kExif("Exif\0\0", 6);
  Bytes exif = sources.exif;
  while (exif.size() >= kExif.size() && std::memcmp(exif.data(), kExif.data(), kExif.size()) == 0) {
    exif = exif.subspan(kExif.size());
  }
  std::optional<int> found = ExifOrientation(exif);
  if (!found.has_value()) found = XmpOrientation(sources.xmp);
  return *found >= 1 && *found <= 8 ? *found : 1;
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
