// SPDX-License-Identifier: Apache-2.0
// A model that needs no files: a vocabulary in which token 10 + i is the letter 'a' + i.
#ifndef TESTS_TESTING_TEST_MANIFEST_H_
#define TESTS_TESTING_TEST_MANIFEST_H_

#include <string>
#include <string_view>

#include "core/bundle/manifest.h"

namespace paligemma {

inline constexpr TokenId kLocFirst = 100, kSegFirst = 1200;

inline Manifest TestManifest() {
  Manifest manifest;
  manifest.format = 1;
  manifest.name = "test";
  manifest.display_name = "Test";
  manifest.revision = "r1";
  manifest.dtype = "float32";
  manifest.quantization = "none";
  manifest.image.size = 28;
  manifest.image.tokens = 4;
  manifest.image.max_count = 2;
  manifest.tokens.loc_first = kLocFirst;
  manifest.tokens.loc_count = 1024;
  manifest.tokens.seg_first = kSegFirst;
  manifest.tokens.seg_count = 128;
  manifest.tokens.vocab = 2000;
  manifest.limits.max_input_tokens = 64;
  manifest.limits.max_output_tokens = 128;
  manifest.limits.max_labels = 4;
  TaskSpec spec;
  spec.default_tokens = 16;
  spec.max_tokens = 64;
  spec.languages = {"en", "de"};
  spec.prompt = "caption {lang}";
  for (const Task task :
       {Task::kCaption, Task::kAnswer, Task::kDetect, Task::kSegment, Task::kGenerate}) {
    manifest.tasks[task] = spec;
  }
  return manifest;  // without ReadText
}

inline std::string_view TestTokenBytes(TokenId token) {
  static const std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz ;";
  const auto index = static_cast<size_t>(token - 10);
  return token >= 10 && index < kLetters.size() ? kLetters.substr(index, 1) : std::string_view();
}

}  // namespace paligemma

#endif  // TESTS_TESTING_TEST_MANIFEST_H_
