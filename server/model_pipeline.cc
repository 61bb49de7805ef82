// SPDX-License-Identifier: Apache-2.0
#include "server/model_pipeline.h"

#include <optional>
#include <string>
#include <utility>

#include "core/request/validate.h"
#include "core/text/detokenizer.h"
#include "core/text/prompt_builder.h"
#include "core/text/region_parser.h"
#include "core/text/stop_matcher.h"

namespace paligemma {
namespace {

class BundlePreprocessor : public Preprocessor {
 public:
  BundlePreprocessor(const Manifest& manifest, const Tokenizer& tokenizer,
                     std::unique_ptr<ImagePreparer> images)
      : manifest_(manifest), prompts_(manifest, tokenizer), images_(std::move(images)) {}

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
                           {.use = request.use_cache, .scope = request.cache_scope}));
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

class BundleTextStream : public TextStream {
 public:
  BundleTextStream(const Manifest& manifest, const Tokenizer& tokenizer, const Request& request)
      : tokenizer_(tokenizer), detokenizer_(tokenizer), stops_(request.stop_sequences) {
    if (request.max_objects <= 0) return;
    max_objects_ = static_cast<size_t>(request.max_objects);
    objects_.emplace(manifest.tokens, RegionParser::Options{TraitsOf(request.task).has_masks});
  }

  TextUpdate Append(TokenId token) override {
    decoded_ += static_cast<std::int64_t>(tokenizer_.TokenBytes(token).size());
    TextUpdate update;
    update.text = stops_.Append(detokenizer_.Append(token));
    if (stops_.matched().has_value()) {
      update.finish = FinishReason::kStop;
      update.matched_stop = *stops_.matched();
      return Counted(std::move(update));
    }
    if (objects_.has_value()) {
      objects_->Append(token, tokenizer_.TokenBytes(token));
      if (objects_->objects().size() >= max_objects_) update.finish = FinishReason::kMaxObjects;
    }
    return Counted(std::move(update));
  }

  TextUpdate Flush() override {
    TextUpdate update;
    update.text = stops_.Append(detokenizer_.Flush());
    if (stops_.matched().has_value()) {
      update.finish = FinishReason::kStop;
      update.matched_stop = *stops_.matched();
    } else {
      update.text += stops_.Flush();
    }
    return update;
  }

 private:
  TextUpdate Counted(TextUpdate update) {
    shown_ += static_cast<std::int64_t>(update.text.size());
    update.num_held_bytes = static_cast<int>(std::max<std::int64_t>(0, decoded_ - shown_));
    return update;
  }

  const Tokenizer& tokenizer_;
  Detokenizer detokenizer_;
  StopMatcher stops_;
  std::optional<RegionParser> objects_;  // only to stop after max_objects_
  size_t max_objects_ = 0;
  std::int64_t decoded_ = 0, shown_ = 0;
};

class BundleTextStreamFactory : public TextStreamFactory {
 public:
  BundleTextStreamFactory(const Manifest& manifest, const Tokenizer& tokenizer)
      : manifest_(manifest), tokenizer_(tokenizer) {}
  std::unique_ptr<TextStream> NewStream(const Request& request) const override {
    return std::make_unique<BundleTextStream>(manifest_, tokenizer_, request);
  }

 private:
  const Manifest& manifest_;
  const Tokenizer& tokenizer_;
};

}  // namespace

std::unique_ptr<Preprocessor> MakePreprocessor(const Manifest& manifest, const Tokenizer& tokenizer,
                                               std::unique_ptr<ImagePreparer> images) {
  return std::make_unique<BundlePreprocessor>(manifest, tokenizer, std::move(images));
}

std::unique_ptr<TextStreamFactory> MakeTextStreamFactory(const Manifest& manifest,
                                                         const Tokenizer& tokenizer) {
  return std::make_unique<BundleTextStreamFactory>(manifest, tokenizer);
}

}  // namespace paligemma
