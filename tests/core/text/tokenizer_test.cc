// SPDX-License-Identifier: Apache-2.0
#include "core/text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "core/text/detokenizer.h"
#include "tests/core/text/tiny_model.h"

namespace paligemma {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Lt;

constexpr const char* kTexts[] = {"",     "a", " a  b ", "caption en", "4711",    "Größe € 😀",
                                  "a\nb", "<", "<loc",   "x < y",      "<table>", "\u2581"};

std::vector<TokenId> Plain(std::string_view text) { return *TinyTokenizer().EncodePlain(text); }
std::vector<TokenId> Located(std::string_view text) {
  return *TinyTokenizer().EncodeWithLocations(text);
}

TEST(TokenizerTest, EveryManifestIdIsChecked) {
  const TokenSpec& good = TinyManifest().tokens;
  const auto error = [](const TokenSpec& spec) {
    return Tokenizer::Load("models/tiny-a/tokenizer.model", spec).status().message();
  };
  EXPECT_EQ(error(good), "");
  TokenSpec spec = good;
  spec.newline = 108;
  EXPECT_THAT(error(spec), HasSubstr("the newline is 4, but the manifest says 108"));
  spec = good;
  spec.loc_first += 1;
  EXPECT_THAT(error(spec), HasSubstr("<loc0000>"));
  spec = good;
  spec.seg_first -= 1;
  EXPECT_THAT(error(spec), HasSubstr("<seg000>"));
  spec = good;
  spec.vocab -= 1;
  EXPECT_THAT(error(spec), HasSubstr("the number of pieces"));
  spec = good;
  spec.bos = 3;
  EXPECT_THAT(error(spec), HasSubstr("<bos>"));
}

TEST(TokenizerTest, AFileThatIsNoModelIsRefused) {
  EXPECT_FALSE(Tokenizer::Load("no/such/file", {}).ok());
  EXPECT_FALSE(Tokenizer::Load("models/tiny-a/manifest.json", {}).ok());
}

TEST(TokenizerTest, DecodingUndoesEncoding) {
  for (std::string_view text : kTexts) {
    if (text == "\u2581") continue;  // a space to sentencepiece
    EXPECT_EQ(TinyTokenizer().Decode(Plain(text)), text);
    EXPECT_EQ(TinyTokenizer().Decode(Located(text)), text);
  }
}

TEST(TokenizerTest, TextWithoutSpecialSpellingsHasTheSameIdsInBothWays) {
  for (std::string_view text : kTexts) EXPECT_EQ(Plain(text), Located(text));
}

TEST(TokenizerTest, LocationsAreTokensOnlyWhereAsked) {
  const TokenSpec& spec = TinyManifest().tokens;
  EXPECT_THAT(Located("<loc0007><seg127>"), ElementsAre(spec.loc_first + 7, spec.seg_first + 127));
  for (std::string_view text : {"<loc0007>", "a<seg127>b", "<<loc1023>", "<loc0001><loc0002>"}) {
    EXPECT_THAT(Plain(text), Each(Lt(spec.loc_first))) << text;
    EXPECT_EQ(TinyTokenizer().Decode(Plain(text)), text);
  }
}

TEST(TokenizerTest, ControlTokensAreNeverMadeOfText) {
  const TokenSpec& spec = TinyManifest().tokens;
  for (std::string_view text : {"<bos>", "<eos>", "<pad>", "<image>", "<unk>", "<unused7>",
                                "<start_of_turn>", "a<eos>b", "<<bos>>"}) {
    for (const auto& tokens : {Plain(text), Located(text)}) {
      EXPECT_THAT(tokens, Each(Ge(spec.newline))) << text;
      EXPECT_THAT(tokens, Each(Lt(spec.loc_first))) << text;
      EXPECT_EQ(TinyTokenizer().Decode(tokens), text);
    }
  }
}

TEST(TokenizerTest, ClientsMayWriteTheSpecialPiecesThatTheManifestNames) {
  // <loc0007> stands for any special piece: the tiny tokenizer has no other user-defined ones.
  TokenSpec spec = TinyManifest().tokens;
  spec.client_specials = {"<loc0007>"};
  const auto tokenizer = Tokenizer::Load("models/tiny-a/tokenizer.model", spec);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().ToString();
  EXPECT_THAT(*(*tokenizer)->EncodePlain("<loc0007>"), ElementsAre(spec.loc_first + 7));
  EXPECT_THAT(*(*tokenizer)->EncodePlain("<loc0008>"), Each(Lt(spec.loc_first)));
  spec.client_specials = {"<unused7>"};
  EXPECT_THAT(Tokenizer::Load("models/tiny-a/tokenizer.model", spec).status().message(),
              HasSubstr("<unused7>, which is no token"));
}

TEST(TokenizerTest, ControlTokensAndUnknownIdsHaveNoText) {
  for (TokenId token : {0, 1, 2, -1, TinyManifest().tokens.vocab, 1 << 30}) {
    EXPECT_THAT(TinyTokenizer().TokenBytes(token), IsEmpty());
  }
  EXPECT_EQ(TinyTokenizer().TokenBytes(TinyManifest().tokens.newline), "\n");
  EXPECT_EQ(TinyTokenizer().TokenBytes(TinyManifest().tokens.loc_first), "<loc0000>");
}

TEST(DetokenizerTest, AStreamEqualsTheWholeForAnyTokens) {
  std::mt19937 random(3);
  for (int i = 0; i < 500; ++i) {
    std::vector<TokenId> tokens;
    // Low ids are bytes: broken UTF-8 galore.
    for (int n = 0; n < 20; ++n) tokens.push_back(static_cast<TokenId>(random() % 300));
    Detokenizer detokenizer(TinyTokenizer());
    std::string text;
    for (TokenId token : tokens) text += detokenizer.Append(token);
    EXPECT_EQ(text + detokenizer.Flush(), TinyTokenizer().Decode(tokens));
  }
}

TEST(DetokenizerTest, ACharacterOfSeveralTokensComesOutWhole) {
  const std::vector<TokenId> tokens = Plain("😀");
  ASSERT_EQ(tokens.size(), 4u);
  Detokenizer detokenizer(TinyTokenizer());
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(detokenizer.Append(tokens[static_cast<std::size_t>(i)]), "");
  EXPECT_EQ(detokenizer.Append(tokens[3]), "😀");
}

}  // namespace
}  // namespace paligemma
