// SPDX-License-Identifier: Apache-2.0
// The engine's two interfaces to pictures and text, over the bundle's tokenizer and image rules.
#ifndef SERVER_MODEL_PIPELINE_H_
#define SERVER_MODEL_PIPELINE_H_

#include <memory>

#include "core/bundle/manifest.h"
#include "core/engine/preprocessor.h"
#include "core/engine/text_stream.h"
#include "core/text/tokenizer.h"
#include "core/vision/image_preparer.h"

namespace paligemma {

// `manifest` and `tokenizer` must outlive what is made.
std::unique_ptr<Preprocessor> MakePreprocessor(const Manifest& manifest, const Tokenizer& tokenizer,
                                               std::unique_ptr<ImagePreparer> images);
std::unique_ptr<TextStreamFactory> MakeTextStreamFactory(const Manifest& manifest,
                                                         const Tokenizer& tokenizer);

}  // namespace paligemma

#endif  // SERVER_MODEL_PIPELINE_H_
