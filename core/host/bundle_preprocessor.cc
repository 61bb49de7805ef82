// SPDX-License-Identifier: Apache-2.0
#include "core/host/bundle_preprocessor.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/request/validate.h"

namespace paligemma {
namespace {

std::string FieldOf(const Request& request, std::size_t index) {
  return ImagePath(request.task, index) + (request.images[index].is_raw ? ".raw" : ".content");
}

}  // namespace

BundlePreprocessor::BundlePreprocessor(const Manifest& manifest,
                                       std::shared_ptr<const Tokenizer> tokenizer,
                                       std::unique_ptr<ImagePreparer> images)
    : manifest_(manifest),
      tokenizer_(std::move(tokenizer)),
      prompts_(manifest, *tokenizer_),
      images_(std::move(images)) {}

std::vector<std::int64_t> BundlePreprocessor::CountPixels(const Request& request) const {
  std::vector<std::int64_t> pixels;
  for (const ImageInput& image : request.images) {
    const std::int64_t count = paligemma::CountPixels(image);
    // A picture beyond the limits is refused before a pixel of it is decoded.
    pixels.push_back(count <= images_->limits().max_pixels ? count : 0);
  }
  return pixels;
}

StatusOr<PreparedRequest> BundlePreprocessor::Prepare(const Request& request,
                                                      const InterruptCheck& check) {
  PreparedRequest prepared;
  prepared.tokens_per_image = manifest_.image.tokens;
  prepared.eos = manifest_.tokens.eos;
  prepared.output_rules = manifest_.tokens.output_rules;
  prepared.max_tokens = MaxTokensOf(request, manifest_);
  PG_RETURN_IF_ERROR(check());
  PG_ASSIGN_OR_RETURN(std::vector<Prompt> prompts, prompts_.Build(request));
  for (Prompt& prompt : prompts) {
    prepared.prompts.push_back({std::move(prompt.text), std::move(prompt.tokens)});
  }
  for (std::size_t i = 0; i < request.images.size(); ++i) {
    PG_RETURN_IF_ERROR(check());
    PG_ASSIGN_OR_RETURN(
        ImagePreparer::Result image,
        images_->Prepare(request.images[i], FieldOf(request, i),
                         {.use = request.use_cache, .scope = request.cache_scope}, check));
    prepared.images.push_back(std::move(image.image));
    prepared.image_infos.push_back(std::move(image.info));
  }
  PG_RETURN_IF_ERROR(check());
  return prepared;
}

}  // namespace paligemma
