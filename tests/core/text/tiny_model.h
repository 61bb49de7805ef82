// SPDX-License-Identifier: Apache-2.0
// The committed tiny bundle's manifest and tokenizer, loaded once.
#ifndef TESTS_CORE_TEXT_TINY_MODEL_H_
#define TESTS_CORE_TEXT_TINY_MODEL_H_

#include <utility>

#include "core/base/check.h"
#include "core/bundle/manifest.h"
#include "core/text/tokenizer.h"

namespace paligemma {

inline const Manifest& TinyManifest() {
  static const Manifest* const manifest = [] {
    auto loaded = LoadManifest("models/tiny-a");
    PG_CHECK(loaded.ok()) << loaded.status().ToString();
    return new Manifest(*std::move(loaded));
  }();
  return *manifest;
}

inline const Tokenizer& TinyTokenizer() {
  static const Tokenizer* const tokenizer = [] {
    auto loaded = Tokenizer::Load("models/tiny-a/tokenizer.model", TinyManifest().tokens);
    PG_CHECK(loaded.ok()) << loaded.status().ToString();
    return (*std::move(loaded)).release();
  }();
  return *tokenizer;
}

}  // namespace paligemma

#endif  // TESTS_CORE_TEXT_TINY_MODEL_H_
