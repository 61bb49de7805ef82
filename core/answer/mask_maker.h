// SPDX-License-Identifier: Apache-2.0
// Renders the masks of one request's objects within a budget of pixels.
#ifndef CORE_ANSWER_MASK_MAKER_H_
#define CORE_ANSWER_MASK_MAKER_H_

#include <cstdint>
#include <vector>

#include "core/base/status.h"
#include "core/model/model_runner.h"
#include "core/request/answer.h"
#include "core/request/image.h"

namespace paligemma {

inline constexpr std::int64_t kMaxMaskPixels = 256'000'000;  // of one request, by default

// Not thread safe; the decoder is shared.
class MaskMaker {
 public:
  // `decoder` must outlive the maker. If it is null, only codes can be made.
  MaskMaker(MaskDecoder* decoder, const MaskOptions& options, const ImageInfo& image,
            std::int64_t max_pixels)
      : decoder_(decoder), options_(options), image_(image), max_pixels_(max_pixels) {}

  // Returns true if the object wants a mask that is not rendered yet.
  static bool Lacks(const Object& object) {
    return object.mask != nullptr && !object.mask->is_rendered;
  }

  // Charges the masks of `objects` that are not rendered yet, all of them or none. Returns
  // RESPONSE_TOO_LARGE if the request's masks would have more pixels than it may have.
  Status Charge(const std::vector<Object>& objects);

  // Decodes and renders the mask of an object that was charged. Takes milliseconds to a second.
  Status Render(const Object& object);

 private:
  // Returns the charge of the object's mask: the pixels of its region. Codes and polygons are free.
  std::int64_t PriceOf(const Object& object) const;

  MaskDecoder* const decoder_;
  const MaskOptions options_;
  const ImageInfo image_;
  const std::int64_t max_pixels_;
  std::int64_t num_charged_ = 0;
};

}  // namespace paligemma

#endif  // CORE_ANSWER_MASK_MAKER_H_
