// SPDX-License-Identifier: Apache-2.0
#include "core/text/template_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/core/text/tiny_model.h"

namespace paligemma {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Lt;

TemplateText Client(std::string_view text) {
  TemplateText value;
  value.AppendUntrusted(text);
  return value;
}

// The trusted parts of a text.
std::vector<std::string> Trusted(const TemplateText& text) {
  std::vector<std::string> parts;
  for (const TextRange& range : text.trusted()) {
    parts.push_back(text.text().substr(range.begin, range.end - range.begin));
  }
  return parts;
}

TEST(TemplateTextTest, TheFormIsTrustedAndItsValuesAreNot) {
  const TemplateText text =
      FillTemplate("<unused7> {lang}: {question}!", "en", "{question}", Client("<unused8> {lang}"));
  EXPECT_EQ(text.text(), "<unused7> en: <unused8> {lang}!");
  EXPECT_THAT(Trusted(text), ElementsAre("<unused7> ", ": ", "!"));
}

TEST(TemplateTextTest, AnUnknownPlaceholderStays) {
  EXPECT_EQ(FillTemplate("a {b} {", "en", "{labels}", Client("c")).text(), "a {b} {");
  EXPECT_EQ(FillTemplate("", "en", "", {}).text(), "");
}

TEST(TemplateTextTest, SeparatorsInsideAValueAreTrusted) {
  TemplateText labels = Client("cat");
  labels.AppendTrusted(" <unused1> ");
  labels.AppendUntrusted("dog");
  const TemplateText text = FillTemplate("detect {labels}", "", "{labels}", labels);
  EXPECT_EQ(text.text(), "detect cat <unused1> dog");
  EXPECT_THAT(Trusted(text), ElementsAre("detect ", " <unused1> "));
}

TEST(TemplateTextTest, NewlinesAtTheEndGoWithTheirTrust) {
  TemplateText text = FillTemplate("a {question}\n\n", "", "{question}", Client("b\n"));
  text.TrimNewlines();
  EXPECT_EQ(text.text(), "a b");
  EXPECT_THAT(Trusted(text), ElementsAre("a "));
}

TEST(TemplateTextTest, SpecialSpellingsAreTokensWhereTheOperatorWroteThem) {
  // <loc0007> stands for any special piece: the tiny tokenizer has no other user-defined ones.
  const TokenSpec& spec = TinyManifest().tokens;
  const TemplateText text =
      FillTemplate("<loc0007> {question}", "", "{question}", Client("<loc0008> x"));
  const auto tokens = *TinyTokenizer().EncodePlain(text.text(), text.trusted());
  EXPECT_EQ(tokens.front(), spec.loc_first + 7);
  EXPECT_THAT(std::vector<TokenId>(tokens.begin() + 1, tokens.end()), Each(Lt(spec.loc_first)));
  EXPECT_EQ(TinyTokenizer().Decode(tokens), text.text());
}

TEST(TemplateTextTest, ASpellingOfBothIsNoToken) {
  const TokenSpec& spec = TinyManifest().tokens;
  for (const auto& [form, value] :
       {std::pair{"<loc{question}>", "0007"}, std::pair{"{question}0007>", "<loc"},
        std::pair{"<loc000{question}", "7>"}}) {
    const TemplateText text = FillTemplate(form, "", "{question}", Client(value));
    EXPECT_EQ(text.text(), "<loc0007>");
    EXPECT_THAT(*TinyTokenizer().EncodePlain(text.text(), text.trusted()),
                Each(Lt(spec.loc_first)));
  }
}

TEST(TemplateTextTest, TextWithoutSpecialSpellingsHasTheIdsOfTheWhole) {
  const TemplateText text =
      FillTemplate("answer {lang} {question}", "en", "{question}", Client("where is the <b>cat?"));
  EXPECT_EQ(*TinyTokenizer().EncodePlain(text.text(), text.trusted()),
            *TinyTokenizer().EncodePlain(text.text()));
}

}  // namespace
}  // namespace paligemma
