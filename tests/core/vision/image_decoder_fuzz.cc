// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: any bytes are decoded within the limits or refused with an image's reason.
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/base/check.h"
#include "core/vision/image_decoder.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using paligemma::Reason;
  paligemma::ImageInput input;
  input.encoded.assign(reinterpret_cast<const char*>(data), size);
  const paligemma::ImageLimits limits{
      .max_bytes = 1 << 20, .max_pixels = 1 << 20, .max_side = 4096};
  const auto decoded = paligemma::DecodeImage(input, limits, "image");
  if (!decoded.ok()) {
    const Reason reason = decoded.status().reason();
    PG_CHECK(reason >= Reason::kImageMissing && reason <= Reason::kImageTooComplex)
        << decoded.status().ToString();
    return 0;
  }
  const auto& image = decoded->image;
  PG_CHECK(image.width > 0 && image.height > 0) << "no pixels";
  PG_CHECK(static_cast<std::int64_t>(image.width) * image.height <= limits.max_pixels)
      << "too large";
  PG_CHECK(image.pixels.size() == static_cast<std::size_t>(image.width) * image.height * 3)
      << "a wrong size";
  return 0;
}
