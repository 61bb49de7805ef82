// SPDX-License-Identifier: Apache-2.0
#include "core/text/prompt_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/core/text/tiny_model.h"

namespace paligemma {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Pair;
using ::testing::SizeIs;

class PromptBuilderTest : public testing::Test {
 protected:
  StatusOr<std::vector<Prompt>> Build() const {
    return PromptBuilder(manifest_, TinyTokenizer()).Build(request_);
  }
  std::string Text() const {
    const auto prompts = Build();
    return prompts.ok() ? prompts->at(0).text : prompts.status().ToString();
  }
  Status Error() const { return Build().status(); }

  Manifest manifest_ = TinyManifest();
  Request request_ = MakeRequest();

 private:
  static Request MakeRequest() {
    Request request;
    request.images.resize(1);
    request.language = "en";
    request.max_tokens = 8;
    return request;
  }
};

TEST_F(PromptBuilderTest, APrefixIsBosTextNewline) {
  request_.task = Task::kCaption;
  const auto prompts = Build();
  ASSERT_TRUE(prompts.ok());
  std::vector<TokenId> expected = *TinyTokenizer().EncodePlain("caption en");
  expected.insert(expected.begin(), manifest_.tokens.bos);
  expected.push_back(manifest_.tokens.newline);
  EXPECT_EQ(prompts->at(0).tokens, expected);
}

TEST_F(PromptBuilderTest, FillsTheTemplateOfEveryMethod) {
  request_.task = Task::kCaption;
  request_.language = "de";
  EXPECT_EQ(Text(), "caption de");
  request_.long_caption = true;
  EXPECT_EQ(Text(), "describe de");
  request_.task = Task::kAnswer;
  request_.text = "What {lang} {question}?";
  EXPECT_EQ(Text(), "answer de What {lang} {question}?");
  request_.task = Task::kRead;
  EXPECT_EQ(Text(), "ocr");
  request_.task = Task::kDetect;
  request_.labels = {"cat", "big dog"};
  EXPECT_EQ(Text(), "detect cat ; big dog");
  request_.task = Task::kSegment;
  EXPECT_EQ(Text(), "segment cat ; big dog");
}

TEST_F(PromptBuilderTest, SeparateLabelsMakeOnePromptEach) {
  request_.task = Task::kDetect;
  request_.labels = {"cat", "dog"};
  request_.separate_labels = true;
  const auto prompts = Build();
  ASSERT_TRUE(prompts.ok());
  ASSERT_THAT(*prompts, SizeIs(2));
  EXPECT_EQ(prompts->at(1).text, "detect dog");
}

TEST_F(PromptBuilderTest, AnEmptyPromptIsBosAndNewline) {
  request_.task = Task::kGenerate;
  EXPECT_THAT(Build()->at(0).tokens, ElementsAre(manifest_.tokens.bos, manifest_.tokens.newline));
}

TEST_F(PromptBuilderTest, TrailingNewlinesAreLeftOutAndSpacesKept) {
  request_.task = Task::kGenerate;
  request_.text = "cat \n\n";
  EXPECT_EQ(Text(), "cat ");
  EXPECT_EQ(Build()->at(0).tokens.back(), manifest_.tokens.newline);
}

TEST_F(PromptBuilderTest, LocationsAreTokensInGenerateAndTextInAnswer) {
  request_.text = "<loc0001>";
  request_.task = Task::kGenerate;
  EXPECT_THAT(Build()->at(0).tokens, Contains(manifest_.tokens.loc_first + 1));
  request_.task = Task::kAnswer;
  EXPECT_THAT(Build()->at(0).tokens, testing::Not(Contains(manifest_.tokens.loc_first + 1)));
}

TEST_F(PromptBuilderTest, ARegionStandsWhereTheLanguageStood) {
  request_.task = Task::kCaption;
  request_.region = Box{.x_min = 0.25f, .y_min = 0, .x_max = 1, .y_max = 0.5f};
  EXPECT_EQ(Text(), "caption <loc0000><loc0256><loc0512><loc1023>");
  EXPECT_THAT(Build()->at(0).tokens, Contains(manifest_.tokens.loc_first + 256));
  manifest_.tasks[Task::kCaption].prompt = "cap";
  EXPECT_EQ(Text(), "cap <loc0000><loc0256><loc0512><loc1023>");
}

TEST_F(PromptBuilderTest, APromptThatCannotFitIsRefused) {
  request_.task = Task::kGenerate;
  request_.text = "4711";  // 4 tokens, with BOS, newline and 9 of the image: 15
  manifest_.limits.max_input_tokens = 15;
  EXPECT_TRUE(Error().ok());
  manifest_.limits.max_input_tokens = 14;
  EXPECT_EQ(Error().reason(), Reason::kPromptTooLong);
  EXPECT_THAT(Error().metadata(), ElementsAre(Pair("value", "15"), Pair("limit", "14")));
  manifest_.limits.max_input_tokens = 100;
  manifest_.architecture.max_positions = 15 + 8 - 2;
  EXPECT_EQ(Error().reason(), Reason::kPromptTooLong);
  manifest_.architecture.max_positions = 15 + 8 - 1;
  EXPECT_TRUE(Error().ok());
  manifest_.architecture.first_position = 1;
  EXPECT_EQ(Error().reason(), Reason::kPromptTooLong);
  EXPECT_THAT(Error().metadata(), ElementsAre(Pair("value", "22"), Pair("limit", "21")));
}

}  // namespace
}  // namespace paligemma
