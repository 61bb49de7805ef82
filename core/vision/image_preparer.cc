// SPDX-License-Identifier: Apache-2.0
#include "core/vision/image_preparer.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <new>
#include <utility>

#include "core/vision/resampler.h"

namespace paligemma {
namespace {

StatusOr<ImageKey> Hash(const ImageKey& key, const void* data, size_t size) {
  ImageKey hash{};
  unsigned int hash_size = 0;
  const auto* done = HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
                          static_cast<const unsigned char*>(data), size, hash.data(), &hash_size);
  if (done == nullptr || hash_size != hash.size()) return InternalError("HMAC failed");
  return hash;
}

}  // namespace

StatusOr<std::unique_ptr<ImagePreparer>> ImagePreparer::Create(const ImageSpec& spec,
                                                               const ImageLimits& limits) {
  std::unique_ptr<ImagePreparer> preparer(new ImagePreparer(spec, limits));
  if (RAND_bytes(preparer->secret_.data(), static_cast<int>(preparer->secret_.size())) != 1) {
    return InternalError("no randomness for the key of image names");
  }
  return preparer;
}

StatusOr<ImageKey> ImagePreparer::Name(const std::vector<std::uint8_t>& pixels,
                                       std::string_view scope) const {
  PG_ASSIGN_OR_RETURN(const ImageKey scope_key, Hash(secret_, scope.data(), scope.size()));
  return Hash(scope_key, pixels.data(), pixels.size());
}

StatusOr<ImagePreparer::Result> ImagePreparer::Prepare(const ImageInput& input,
                                                       std::string_view field, Caching caching,
                                                       const InterruptCheck& check) const {
  try {
    PG_ASSIGN_OR_RETURN(const DecodedImage decoded, DecodeImage(input, limits_, field, check));
    auto pixels = std::make_shared<std::vector<std::uint8_t>>(
        ResizeToSquare(decoded.image, spec_.size, spec_.resampling, spec_.padding));
    Result result;
    result.info = decoded.info;
    result.image.size = spec_.size;
    result.image.use_cache = caching.use;
    PG_ASSIGN_OR_RETURN(result.image.key, Name(*pixels, caching.scope));
    result.image.pixels = std::move(pixels);
    return result;
  } catch (const std::bad_alloc&) {
    return OutOfMemory("to prepare an image");
  }
}

}  // namespace paligemma
