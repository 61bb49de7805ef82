// SPDX-License-Identifier: Apache-2.0
// The engine's preprocessor over a bundle's tokenizer and image rules. Thread safe.
#ifndef CORE_HOST_BUNDLE_PREPROCESSOR_H_
#define CORE_HOST_BUNDLE_PREPROCESSOR_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "core/bundle/manifest.h"
#include "core/engine/preprocessor.h"
#include "core/text/prompt_builder.h"
#include "core/text/tokenizer.h"
#include "core/vision/image_preparer.h"

namespace paligemma {

class BundlePreprocessor final : public Preprocessor {
 public:
  // `manifest` must outlive this.
  BundlePreprocessor(const Manifest& manifest, std::shared_ptr<const Tokenizer> tokenizer,
                     std::unique_ptr<ImagePreparer> images);

  std::vector<std::int64_t> CountPixels(const Request& request) const override;

  // REQUIRES: ValidateRequest() of `request`.
  StatusOr<PreparedRequest> Prepare(const Request& request, const InterruptCheck& check) override;

 private:
  const Manifest& manifest_;
  const std::shared_ptr<const Tokenizer> tokenizer_;
  const PromptBuilder prompts_;
  const std::unique_ptr<ImagePreparer> images_;
};

}  // namespace paligemma

#endif  // CORE_HOST_BUNDLE_PREPROCESSOR_H_
