// SPDX-License-Identifier: Apache-2.0
#include "server/model_pipeline.h"

#include <string>
#include <utility>

#include "core/request/validate.h"
#include "core/text/prompt_builder.h"

namespace paligemma {
namespace {

class BundlePreprocessor : public Preprocessor {
 public:
  BundlePreprocessor(const Manifest& manifest, const Tokenizer& tokenizer,
                     std::unique_ptr<ImagePreparer> images)
      : manifest_(manifest), prompts_(manifest, tokenizer), images_(std::move(images)) {}

  // What is beyond the limits is refused before a pixel of it is decoded.
  std::vector<std::int64_t> CountPixels(const Request& request) const override {
    std::vector<std::int64_t> pixels;
    for (const ImageInput& image : request.images) {
      const std::int64_t count = paligemma::CountPixels(image);
      pixels.push_back(count <= images_->limits().max_pixels ? count : 0);
    }
    return pixels;
  }

  StatusOr<PreparedRequest> Prepare(const Request& request, const InterruptCheck& check) override {
    PreparedRequest prepared;
    prepared.tokens_per_image = manifest_.image.tokens;
    prepared.eos = manifest_.tokens.eos;
    PG_RETURN_IF_ERROR(check());
    PG_ASSIGN_OR_RETURN(std::vector<Prompt> prompts, prompts_.Build(request));
    prepared.max_tokens = MaxTokensOf(request, manifest_);
    for (Prompt& prompt : prompts) {
      prepared.prompts.push_back({std::move(prompt.text), std::move(prompt.tokens)});
    }
    for (size_t i = 0; i < request.images.size(); ++i) {
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

 private:
  static std::string FieldOf(const Request& request, std::size_t index) {
    return ImagePath(request.task, index) + (request.images[index].is_raw ? ".raw" : ".content");
  }

  const Manifest& manifest_;
  const PromptBuilder prompts_;
  const std::unique_ptr<ImagePreparer> images_;
};

}  // namespace

std::unique_ptr<Preprocessor> MakePreprocessor(const Manifest& manifest, const Tokenizer& tokenizer,
                                               std::unique_ptr<ImagePreparer> images) {
  return std::make_unique<BundlePreprocessor>(manifest, tokenizer, std::move(images));
}

}  // namespace paligemma
