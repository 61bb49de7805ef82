// SPDX-License-Identifier: Apache-2.0
// Bytes of a client to what the vision encoder is shown: decoded, upright, resized as the manifest
// says, named by a keyed hash of the resized pixels. Immutable after Create(), thread safe.
#ifndef CORE_VISION_IMAGE_PREPARER_H_
#define CORE_VISION_IMAGE_PREPARER_H_

#include <memory>
#include <string_view>
#include <vector>

#include "core/base/status.h"
#include "core/bundle/manifest.h"
#include "core/request/image.h"
#include "core/vision/image_decoder.h"

namespace paligemma {

class ImagePreparer {
 public:
  struct Result {
    PreparedImage image;
    ImageInfo info;
  };

  // Draws the key, new in every process: a client can neither make two pictures share a name nor
  // learn from a name whether somebody else sent a picture. INTERNAL without randomness.
  static StatusOr<std::unique_ptr<ImagePreparer>> Create(const ImageSpec& spec,
                                                         const ImageLimits& limits);

  // Errors are DecodeImage's; `field` as there.
  StatusOr<Result> Prepare(const ImageInput& input, std::string_view field, bool use_cache) const;

  const ImageLimits& limits() const { return limits_; }

 private:
  ImagePreparer(const ImageSpec& spec, const ImageLimits& limits) : spec_(spec), limits_(limits) {}

  // HMAC-SHA256 of the pixels.
  StatusOr<ImageKey> Name(const std::vector<std::uint8_t>& pixels) const;

  const ImageSpec spec_;
  const ImageLimits limits_;
  ImageKey secret_{};
};

}  // namespace paligemma

#endif  // CORE_VISION_IMAGE_PREPARER_H_
