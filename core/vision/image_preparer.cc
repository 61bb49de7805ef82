// SPDX-License-Identifier: Apache-2.0
#include "core/vision/image_preparer.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <new>
#include <utility>

#include "core/vision/resampler.h"

namespace paligemma {

StatusOr<std::unique_ptr<ImagePreparer>> ImagePreparer::Create(const ImageSpec& spec,
                                                               const ImageLimits& limits) {
  std::unique_ptr<ImagePreparer> preparer(new ImagePreparer(spec, limits));
  if (RAND_bytes(preparer->secret_.data(), static_cast<int>(preparer->secret_.size())) != 1) {
    return InternalError("no randomness for the key of image names");
  }
  return preparer;
}

StatusOr<ImageKey> ImagePreparer::Name(const std::vector<std::uint8_t>& pixels) const {
  ImageKey key{};
  unsigned int size = 0;
  const auto* done = HMAC(EVP_sha256(), secret_.data(), static_cast<int>(secret_.size()),
                          pixels.data(), pixels.size(), key.data(), &size);
  if (done == nullptr || size != key.size()) return InternalError("HMAC failed");
  return key;
}

StatusOr<ImagePreparer::Result> ImagePreparer::Prepare(const ImageInput& input,
                                                       std::string_view field,
                                                       bool use_cache) const {
  try {
    PG_ASSIGN_OR_RETURN(const DecodedImage decoded, DecodeImage(input, limits_, field));
    auto pixels = std::make_shared<std::vector<std::uint8_t>>(
        ResizeToSquare(decoded.image, spec_.size, spec_.resampling, spec_.padding));
    Result result;
    result.info = decoded.info;
    result.image.size = spec_.size;
    result.image.use_cache = use_cache;
    PG_ASSIGN_OR_RETURN(result.image.key, Name(*pixels));
    result.image.pixels = std::move(pixels);
    return result;
  } catch (const std::bad_alloc&) {
    return Status(StatusCode::kUnavailable, Reason::kServerOverloaded,
                  "no memory to prepare an image", {{"retry_after_ms", "1000"}})
        .WithRetryAfter(std::chrono::milliseconds(1000));
  }
}

}  // namespace paligemma
