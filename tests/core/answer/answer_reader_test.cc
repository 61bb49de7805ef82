// SPDX-License-Identifier: Apache-2.0
#include "core/answer/answer_reader.h"

#include <cmath>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/fake_pipeline.h"

namespace paligemma {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr float kLogprob = -0.5f;

class AnswerReaderTest : public ::testing::Test {
 protected:
  AnswerReaderTest() { request_.task = Task::kSegment; }

  // Reads the tokens and ends the answer, unless it ended by itself.
  void Read(const std::vector<TokenId>& tokens, FinishReason reason = FinishReason::kStop) {
    AnswerReader reader(&vocabulary_, request_, image_);
    for (const TokenId token : tokens) {
      Add(reader.Append({token, kLogprob, {}}));
      if (finish_ != FinishReason::kNone) break;
    }
    if (finish_ == FinishReason::kNone) Add(reader.Finish(reason));
    num_dropped_ = reader.num_dropped_objects();
  }

  void Add(AnswerEvent event) {
    text_ += event.text;
    for (const TokenLogprob& token : event.tokens) tokens_.push_back(token.token);
    for (Object& object : event.objects) objects_.push_back(std::move(object));
    num_objects_.push_back(static_cast<int>(objects_.size()));
    finish_ = event.finish;
    matched_stop_ = event.matched_stop;
  }

  static std::vector<TokenId> Letters(const std::string& text) {
    std::vector<TokenId> tokens;
    for (const char c : text) {
      tokens.push_back(c == ' ' ? kFakeSpace : c == ';' ? kFakeSemicolon : c - 'a');
    }
    return tokens;
  }

  static std::vector<TokenId> Joined(std::vector<TokenId> a, const std::vector<TokenId>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  }

  Vocabulary vocabulary_ = FakeVocabulary();
  Request request_;
  ImageInfo image_{200, 100, 1, "image/png"};
  // What was read.
  std::string text_, matched_stop_;
  std::vector<TokenId> tokens_;
  std::vector<Object> objects_;
  std::vector<int> num_objects_;  // after each event
  FinishReason finish_ = FinishReason::kNone;
  int num_dropped_ = 0;
};

TEST_F(AnswerReaderTest, TextComesWithItsTokens) {
  Read(Letters("some words"));
  EXPECT_EQ(text_, "some words");
  EXPECT_EQ(tokens_, Letters("some words"));
}

TEST_F(AnswerReaderTest, ACharacterOfSeveralTokensComesWhole) {
  const std::string bytes = "\xE2\x82\xAC";  // the euro sign
  vocabulary_.bytes = [&](TokenId token) {
    return std::string_view(bytes).substr(static_cast<std::size_t>(token), 1);
  };
  AnswerReader reader(&vocabulary_, request_, image_);
  EXPECT_THAT(reader.Append({0, 0, {}}).text, IsEmpty());
  EXPECT_THAT(reader.Append({1, 0, {}}).tokens, IsEmpty());
  const AnswerEvent event = reader.Append({2, 0, {}});
  EXPECT_EQ(event.text, bytes);
  EXPECT_THAT(event.tokens, SizeIs(3));
}

TEST_F(AnswerReaderTest, ABrokenCharacterIsReplacedAtTheEnd) {
  vocabulary_.bytes = [](TokenId) { return std::string_view("\xE2"); };
  AnswerReader reader(&vocabulary_, request_, image_);
  EXPECT_THAT(reader.Append({0, 0, {}}).text, IsEmpty());
  const AnswerEvent event = reader.Finish(FinishReason::kMaxTokens);
  EXPECT_EQ(event.text, "\xEF\xBF\xBD");
  EXPECT_THAT(event.tokens, SizeIs(1));
}

TEST_F(AnswerReaderTest, NothingOfAStopSequenceIsShown) {
  request_.stop_sequences = {"stop"};
  Read(Letters("do not stop here"));
  EXPECT_EQ(text_, "do not ");
  EXPECT_EQ(tokens_, Letters("do not "));
  EXPECT_EQ(finish_, FinishReason::kStop);
  EXPECT_EQ(matched_stop_, "stop");
}

TEST_F(AnswerReaderTest, AStopSequenceThatOnlyBeganIsText) {
  request_.stop_sequences = {"stop"};
  Read(Letters("a sto"), FinishReason::kMaxTokens);
  EXPECT_EQ(text_, "a sto");
  EXPECT_EQ(tokens_, Letters("a sto"));
  EXPECT_EQ(finish_, FinishReason::kNone);
}

TEST_F(AnswerReaderTest, EachObjectComesOnceAndAsSoonAsItIsComplete) {
  request_.task = Task::kDetect;
  const std::vector<TokenId> one = FakeObjectTokens({0, 512, 1023, 1023}, 'b', false);
  Read(Joined(one, FakeObjectTokens({0, 0, 512, 512}, 'c', false)));
  ASSERT_THAT(objects_, SizeIs(2));
  const std::size_t complete = one.size() - 1;  // the event of the semicolon
  EXPECT_EQ(num_objects_[complete - 1], 0);
  EXPECT_EQ(num_objects_[complete], 1);
  EXPECT_EQ(objects_[0].label, "b");
  EXPECT_FLOAT_EQ(objects_[0].box.x_min, 0.5f);
  EXPECT_FLOAT_EQ(objects_[0].box.y_max, 1023.0f / 1024);
  EXPECT_EQ(objects_[0].pixel_box.x_min, 100);
  EXPECT_EQ(objects_[0].pixel_box.x_max, 200);
  EXPECT_EQ(objects_[0].pixel_box.y_max, 100);
  EXPECT_EQ(objects_[0].mask, nullptr);
}

TEST_F(AnswerReaderTest, TheLastObjectIsCompleteWhenTheModelEnded) {
  std::vector<TokenId> tokens = FakeObjectTokens({0, 0, 512, 512}, 'c', true);
  tokens.pop_back();  // no semicolon
  Read(tokens, FinishReason::kStop);
  ASSERT_THAT(objects_, SizeIs(1));
  EXPECT_NE(objects_[0].mask, nullptr);
  EXPECT_FALSE(objects_[0].mask->is_rendered);
}

TEST_F(AnswerReaderTest, AnObjectThatWasCutIsDropped) {
  std::vector<TokenId> tokens = FakeObjectTokens({0, 0, 512, 512}, 'c', true);
  tokens.pop_back();
  Read(tokens, FinishReason::kMaxTokens);
  EXPECT_THAT(objects_, IsEmpty());
  EXPECT_EQ(num_dropped_, 1);
}

TEST_F(AnswerReaderTest, ScoresAreMeanProbabilities) {
  request_.task = Task::kDetect;
  AnswerReader reader(&vocabulary_, request_, image_);
  std::vector<Object> objects;
  for (const TokenId token : FakeObjectTokens({0, 0, 512, 512}, 'c', false)) {
    const bool is_location = token >= kFakeLoc;
    for (Object& object : reader.Append({token, is_location ? -1.0f : -0.5f, {}}).objects) {
      objects.push_back(std::move(object));
    }
  }
  ASSERT_THAT(objects, SizeIs(1));
  EXPECT_NEAR(objects[0].box_score.value_or(0), std::exp(-1), 1e-6);
  EXPECT_NEAR(objects[0].label_score.value_or(0), std::exp(-0.5), 1e-6);
  EXPECT_NEAR(objects[0].score.value_or(0), std::exp((4 * -1 - 0.5) / 5), 1e-6);
}

TEST_F(AnswerReaderTest, WithoutLogProbabilitiesThereIsNoScore) {
  request_.task = Task::kGenerate;
  Read(FakeObjectTokens({0, 0, 512, 512}, 'c', false));
  ASSERT_THAT(objects_, SizeIs(1));
  EXPECT_FALSE(objects_[0].score.has_value());
}

TEST_F(AnswerReaderTest, LowScoresAreDroppedAndCounted) {
  request_.task = Task::kDetect;
  request_.min_score = 0.9f;
  Read(FakeObjectTokens({0, 0, 512, 512}, 'c', false));
  EXPECT_THAT(objects_, IsEmpty());
  EXPECT_EQ(num_dropped_, 1);
}

TEST_F(AnswerReaderTest, LabelsAreComparedWithoutCase) {
  request_.task = Task::kDetect;
  request_.labels = {" x ", "C"};
  Read(Joined(FakeObjectTokens({0, 0, 512, 512}, 'c', false),
              FakeObjectTokens({0, 0, 512, 512}, 'd', false)));
  ASSERT_THAT(objects_, SizeIs(2));
  EXPECT_EQ(objects_[0].label_index, 1);
  EXPECT_FALSE(objects_[1].label_index.has_value());
}

TEST_F(AnswerReaderTest, TheAnswerEndsWithTheLastWantedObject) {
  request_.task = Task::kDetect;
  request_.max_objects = 1;
  const std::vector<TokenId> one = FakeObjectTokens({0, 0, 512, 512}, 'c', false);
  Read(Joined(one, one));
  EXPECT_EQ(finish_, FinishReason::kMaxObjects);
  EXPECT_THAT(objects_, SizeIs(1));
  EXPECT_EQ(tokens_, one);
}

TEST_F(AnswerReaderTest, AStopSequenceEndsAnObjectWell) {
  request_.task = Task::kDetect;
  request_.stop_sequences = {"z"};
  std::vector<TokenId> tokens = FakeObjectTokens({0, 0, 512, 512}, 'c', false);
  tokens.back() = 'z' - 'a';
  Read(tokens);
  EXPECT_EQ(finish_, FinishReason::kStop);
  ASSERT_THAT(objects_, SizeIs(1));
  EXPECT_EQ(objects_[0].label, "c");
}

TEST_F(AnswerReaderTest, ACaptionHasNoObjects) {
  request_.task = Task::kCaption;
  Read(FakeObjectTokens({0, 0, 512, 512}, 'c', false));
  EXPECT_THAT(objects_, IsEmpty());
}

TEST_F(AnswerReaderTest, MasksThatNobodyWantsAreNotMade) {
  request_.mask.encoding = MaskEncoding::kNone;
  Read(FakeObjectTokens({0, 0, 512, 512}, 'c', true));
  ASSERT_THAT(objects_, SizeIs(1));
  EXPECT_EQ(objects_[0].mask, nullptr);
}

}  // namespace
}  // namespace paligemma
