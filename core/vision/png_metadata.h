// SPDX-License-Identifier: Apache-2.0
// The metadata of a PNG file that may hold its orientation. Private to core/vision.
#ifndef CORE_VISION_PNG_METADATA_H_
#define CORE_VISION_PNG_METADATA_H_

#include <string>
#include <string_view>

#include "core/vision/codec.h"

namespace paligemma::vision {

// Collects chunks and finds the orientation among them: in eXIf, in ImageMagick's "Raw profile type
// exif" (hexadecimal text), or in XMP. As in Pillow the last chunk of a kind counts, and a raw
// profile only where there is no eXIf. Nothing is inflated before Orientation(), and then at most
// kMaxMetadataBytes of each of two chunks.
class PngMetadata {
 public:
  // `type` has four characters. `data` must outlive this object.
  void Add(std::string_view type, Bytes data);
  int Orientation() const;

 private:
  // A text that may have to be inflated.
  struct Text {
    Bytes bytes;
    bool compressed = false;
  };
  void AddText(std::string_view key, Text text);
  static std::string Inflated(const Text& text);

  Bytes exif_;
  Text raw_profile_, xmp_;
};

}  // namespace paligemma::vision

#endif  // CORE_VISION_PNG_METADATA_H_
