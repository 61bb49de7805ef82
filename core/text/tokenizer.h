// SPDX-License-Identifier: Apache-2.0
// Turns text into token ids and back with the bundle's tokenizer.model. Its source file is the only
// one that sees sentencepiece. Immutable after Load(), so thread safe.
//
// Text of clients must not become control tokens. sentencepiece itself never matches control pieces
// (<bos>, <eos>, <pad>) in text, but user-defined ones (<loc0000>, <seg000>, <unused0>,
// <start_of_turn>) always. Where such a spelling must stay ordinary text, the text is cut behind
// its "<" and both parts are encoded by themselves: no piece spans the cut, and text without such
// spellings has exactly sentencepiece's ids. HTML tags, newlines and runs of spaces, which are
// user-defined too, stay what the model was trained with.
#ifndef CORE_TEXT_TOKENIZER_H_
#define CORE_TEXT_TOKENIZER_H_

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/status.h"
#include "core/base/types.h"
#include "core/bundle/manifest.h"
#include "core/text/template_text.h"

namespace paligemma {

class Tokenizer {
 public:
  // Loads `path` and checks it against the manifest's ids (semantics 3.1). An error is one line.
  static StatusOr<std::unique_ptr<Tokenizer>> Load(const std::string& path, const TokenSpec& spec);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // Neither adds BOS, EOS or newline. REQUIRES: valid UTF-8 (see ValidateUtf8).
  // Every spelling of a special token is ordinary text, unless it lies in a range of `trusted`
  // (TemplateText::trusted), which is what the operator wrote, or in the manifest's
  // client_specials.
  StatusOr<std::vector<TokenId>> EncodePlain(std::string_view text,
                                             std::span<const TextRange> trusted = {}) const;
  // The same, but <locNNNN> and <segNNN> are tokens everywhere.
  StatusOr<std::vector<TokenId>> EncodeWithLocations(std::string_view text,
                                                     std::span<const TextRange> trusted = {}) const;

  // Returns the bytes of a token: the piece with spaces for its U+2581, one byte for a byte piece,
  // and nothing for control pieces and ids outside of the vocabulary.
  std::string_view TokenBytes(TokenId token) const;
  // Returns the text of a whole sequence, with U+FFFD for bytes that are not UTF-8.
  std::string Decode(std::span<const TokenId> tokens) const;

  const TokenSpec& spec() const { return spec_; }

 private:
  class Model;
  enum class Specials { kNone, kLocations };

  Tokenizer(std::unique_ptr<Model> model, const TokenSpec& spec);
  Status CheckIds() const;
  StatusOr<std::vector<TokenId>> Encode(std::string_view text, Specials specials,
                                        std::span<const TextRange> trusted) const;

  const std::unique_ptr<const Model> model_;
  const TokenSpec spec_;
  std::vector<std::string> bytes_;  // by token
};

}  // namespace paligemma

#endif  // CORE_TEXT_TOKENIZER_H_
