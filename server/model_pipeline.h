// SPDX-License-Identifier: Apache-2.0
// The engine's interface to pictures and prompts, over the bundle's tokenizer and image rules.
#ifndef SERVER_MODEL_PIPELINE_H_
#define SERVER_MODEL_PIPELINE_H_

#include <memory>

#include "core/bundle/manifest.h"
#include "core/engine/preprocessor.h"
#include "core/text/tokenizer.h"
#include "core/vision/image_preparer.h"

namespace paligemma {

// `manifest` and `tokenizer` must outlive what is made.
std::unique_ptr<Preprocessor> MakePreprocessor(const Manifest& manifest, const Tokenizer& tokenizer,
                                               std::unique_ptr<ImagePreparer> images);

}  // namespace paligemma

#endif  // SERVER_MODEL_PIPELINE_H_
