// SPDX-License-Identifier: Apache-2.0
// Turns a client's picture into the vision encoder's input: decodes it, turns it upright, resizes
// it as the manifest says, and names it by a keyed hash of the resized pixels and of the scope in
// which they are shared. Immutable after Create(), thread safe.
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

  // Draws the key, new in every process: no client can make two pictures share a name. Returns
  // INTERNAL without randomness.
  static StatusOr<std::unique_ptr<ImagePreparer>> Create(const ImageSpec& spec,
                                                         const ImageLimits& limits);

  // How a picture may be cached.
  struct Caching {
    bool use = true;
    std::string_view scope = {};  // equal pictures share a name within one scope alone
  };

  // Errors are DecodeImage's; `field` and `check` as there.
  StatusOr<Result> Prepare(const ImageInput& input, std::string_view field, Caching caching,
                           const InterruptCheck& check = nullptr) const;

  const ImageLimits& limits() const { return limits_; }

 private:
  ImagePreparer(const ImageSpec& spec, const ImageLimits& limits) : spec_(spec), limits_(limits) {}

  // Returns the HMAC-SHA256 of the pixels. Its key is the HMAC-SHA256 of the scope under the
  // process's key.
  StatusOr<ImageKey> Name(const std::vector<std::uint8_t>& pixels, std::string_view scope) const;

  const ImageSpec spec_;
  const ImageLimits limits_;
  ImageKey secret_{};
};

}  // namespace paligemma

#endif  // CORE_VISION_IMAGE_PREPARER_H_
