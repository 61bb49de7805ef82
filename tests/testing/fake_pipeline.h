// SPDX-License-Identifier: Apache-2.0
// Text and pictures without codecs and tokenizer: a prompt is the bytes of the request's text, a
// token's text is the letter 'a' + token.
#ifndef TESTS_TESTING_FAKE_PIPELINE_H_
#define TESTS_TESTING_FAKE_PIPELINE_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/answer/vocabulary.h"
#include "core/engine/preprocessor.h"
#include "tests/testing/fake_model_runner.h"

namespace paligemma {

inline std::vector<TokenId> FakeTokens(const std::string& text) {
  std::vector<TokenId> tokens;
  for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
  return tokens;
}

inline std::string FakeText(const std::vector<TokenId>& tokens) {
  std::string text;
  for (const TokenId token : tokens) {
    if (token != FakeModelRunner::kEos) text += static_cast<char>('a' + token);
  }
  return text;
}

class FakePreprocessor final : public Preprocessor {
 public:
  explicit FakePreprocessor(Gate* gate = nullptr) : gate_(gate) {}

  // A raw picture has its pixels; files have none.
  std::vector<std::int64_t> CountPixels(const Request& request) const override {
    std::vector<std::int64_t> pixels;
    for (const ImageInput& image : request.images) {
      pixels.push_back(std::int64_t{image.raw.width} * image.raw.height);
    }
    return pixels;
  }

  StatusOr<PreparedRequest> Prepare(const Request& request, const InterruptCheck& check) override {
    if (gate_ != nullptr) gate_->Pass();
    PG_RETURN_IF_ERROR(check());
    if (request.text.empty()) return InvalidField("prompt", "", "", "must not be empty");
    PreparedRequest prepared;
    prepared.prompts.push_back({request.text, FakeTokens(request.text)});
    prepared.images.resize(request.images.size());
    prepared.image_infos.resize(request.images.size());
    prepared.tokens_per_image = 6;
    prepared.eos = FakeModelRunner::kEos;
    prepared.max_tokens = request.max_tokens.value_or(0);
    return prepared;
  }

 private:
  Gate* const gate_;
};

inline constexpr TokenId kFakeSpace = 26, kFakeSemicolon = 27, kFakeLoc = 100, kFakeSeg = 1200;

// Letters from token 0 on, though token 1 is also EOS; a space, a semicolon, locations and codes.
inline Vocabulary FakeVocabulary() {
  Vocabulary vocabulary;
  vocabulary.tokens.loc_first = kFakeLoc;
  vocabulary.tokens.loc_count = 1024;
  vocabulary.tokens.seg_first = kFakeSeg;
  vocabulary.tokens.seg_count = 128;
  vocabulary.bytes = [](TokenId token) {
    static constexpr std::string_view kText = "abcdefghijklmnopqrstuvwxyz ;";
    const auto index = static_cast<std::size_t>(token);
    return index < kText.size() ? kText.substr(index, 1) : std::string_view();
  };
  return vocabulary;
}

// One object as the model writes it: locations as y0, x0, y1, x1, then perhaps codes, a label of
// one letter, and ";".
inline std::vector<TokenId> FakeObjectTokens(const std::vector<int>& bins, char label,
                                             bool has_codes) {
  std::vector<TokenId> tokens;
  for (const int bin : bins) tokens.push_back(kFakeLoc + bin);
  for (int i = 0; has_codes && i < 16; ++i) tokens.push_back(kFakeSeg + i);
  tokens.push_back(kFakeSpace);
  tokens.push_back(label - 'a');
  tokens.push_back(kFakeSemicolon);
  return tokens;
}

}  // namespace paligemma

#endif  // TESTS_TESTING_FAKE_PIPELINE_H_
