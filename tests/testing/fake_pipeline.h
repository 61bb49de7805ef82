// SPDX-License-Identifier: Apache-2.0
// Text and pictures without codecs and tokenizer: a prompt is the bytes of the request's text, a
// token's text is the letter 'a' + token.
#ifndef TESTS_TESTING_FAKE_PIPELINE_H_
#define TESTS_TESTING_FAKE_PIPELINE_H_

#include <memory>
#include <string>
#include <vector>

#include "core/engine/preprocessor.h"
#include "core/engine/text_stream.h"
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

// Ends with kStop at the one-letter stop sequence, if the request has one.
class FakeTextStream final : public TextStream {
 public:
  explicit FakeTextStream(std::string stop) : stop_(std::move(stop)) {}

  TextUpdate Append(TokenId token) override {
    TextUpdate update;
    update.text = FakeText({token});
    if (!stop_.empty() && update.text == stop_) {
      update.text.clear();
      update.finish = FinishReason::kStop;
      update.matched_stop = stop_;
    }
    return update;
  }
  TextUpdate Flush() override { return {}; }

 private:
  const std::string stop_;
};

class FakeTextStreamFactory final : public TextStreamFactory {
 public:
  std::unique_ptr<TextStream> NewStream(const Request& request) const override {
    return std::make_unique<FakeTextStream>(
        request.stop_sequences.empty() ? "" : request.stop_sequences.front());
  }
};

}  // namespace paligemma

#endif  // TESTS_TESTING_FAKE_PIPELINE_H_
