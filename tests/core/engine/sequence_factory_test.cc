// SPDX-License-Identifier: Apache-2.0
#include "core/engine/sequence_factory.h"

#include <set>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "tests/testing/fake_pipeline.h"

namespace paligemma {
namespace {

class SequenceFactoryTest : public ::testing::Test {
 protected:
  PreparedSequences Make() {
    PreparedRequest prepared;
    for (int i = 0; i < num_prompts_; ++i) {
      const std::string text = "prompt " + std::to_string(i);
      prepared.prompts.push_back({text, FakeTokens(text)});
    }
    prepared.images.resize(2);
    prepared.image_infos.resize(2);
    prepared.tokens_per_image = 6;
    prepared.eos = 1;
    prepared.max_tokens = 12;
    return MakeSequences(request_, std::move(prepared), vocabulary_, &next_id_);
  }

  const Vocabulary vocabulary_ = FakeVocabulary();
  std::atomic<SequenceId> next_id_{5};
  Request request_;
  int num_prompts_ = 1;
};

TEST_F(SequenceFactoryTest, ThereIsOneForEachPromptAndCandidate) {
  num_prompts_ = 2;
  request_.num_candidates = 3;
  const PreparedSequences made = Make();
  ASSERT_EQ(made.sequences.size(), 6u);
  ASSERT_EQ(made.delivery.outputs.size(), 6u);
  ASSERT_EQ(made.delivery.result.candidates.size(), 6u);
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(made.sequences[i]->id, 5 + i);
    EXPECT_EQ(made.delivery.outputs[i].sequence, made.sequences[i]->id);
    EXPECT_NE(made.delivery.outputs[i].reader, nullptr);
    EXPECT_EQ(made.delivery.result.candidates[i].prompt_index, static_cast<int>(i / 3));
    EXPECT_EQ(made.delivery.result.candidates[i].candidate_index, static_cast<int>(i % 3));
    EXPECT_EQ(made.sequences[i]->prompt, FakeTokens("prompt " + std::to_string(i / 3)));
  }
}

TEST_F(SequenceFactoryTest, PicturesCountOnceAndPromptsEach) {
  num_prompts_ = 2;
  const PreparedSequences made = Make();
  const RequestUsage& usage = made.delivery.result.usage;
  EXPECT_EQ(usage.num_images, 2);
  EXPECT_EQ(usage.image_tokens, 12);
  EXPECT_EQ(usage.prompt_tokens, 12 + 2 * 8);
}

TEST_F(SequenceFactoryTest, TheFirstSeedIsTheRequestsAndTheOthersFollowFromIt) {
  request_.seed = 7;
  request_.num_candidates = 4;
  const PreparedSequences first = Make(), second = Make();
  EXPECT_EQ(first.delivery.result.seed, 7u);
  EXPECT_EQ(first.sequences[0]->seed, 7u);
  std::set<std::uint64_t> seeds;
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(first.sequences[i]->seed, second.sequences[i]->seed);
    seeds.insert(first.sequences[i]->seed);
  }
  EXPECT_EQ(seeds.size(), 4u) << "neighbours draw unrelated numbers";
}

TEST_F(SequenceFactoryTest, ASeedThatWasDrawnFitsTheApi) {
  EXPECT_LE(Make().delivery.result.seed, 0x7fffffffu);
}

TEST_F(SequenceFactoryTest, OnlyStreamedTasksThatFindObjectsStreamThem) {
  request_.streamed = true;
  request_.task = Task::kCaption;
  EXPECT_FALSE(Make().delivery.streams_objects);
  request_.task = Task::kSegment;
  EXPECT_TRUE(Make().delivery.streams_objects);
  request_.streamed = false;
  EXPECT_FALSE(Make().delivery.streams_objects);
}

}  // namespace
}  // namespace paligemma
