// SPDX-License-Identifier: Apache-2.0
#include "server/api/answer_writer.h"

#include <gmock/gmock.h>

#include "tests/testing/test_manifest.h"

namespace paligemma {
namespace {

class AnswerWriterTest : public ::testing::Test {
 protected:
  AnswerWriterTest()
      : writer_({&manifest_, "models/test", [](TokenId token) { return TestTokenBytes(token); }}) {
    context_.request_id = "id-1";
    result_.images.push_back({200, 100, 1, "image/png"});
    result_.prompts = {"a prompt"};
  }

  Candidate& AddCandidate(FinishReason finish = FinishReason::kStop) {
    Candidate candidate;
    candidate.finish = finish;
    result_.candidates.push_back(candidate);
    return result_.candidates.back();
  }

  const Manifest manifest_ = TestManifest();
  const AnswerWriter writer_;
  ResponseContext context_;
  Answer result_;
};

TEST_F(AnswerWriterTest, CandidatesComeBestFirst) {
  context_.task = Task::kGenerate;
  for (const float logprob : {-3.0f, -1.0f, -2.0f}) {
    Candidate& candidate = AddCandidate();
    candidate.text = std::to_string(logprob);
    candidate.sum_logprob = logprob;
    candidate.tokens = {10, 11};
    candidate.logprobs = {{10, logprob, {{12, -9}}}, {11, 0, {}}};
  }
  v1::GenerateResponse response;
  ASSERT_TRUE(writer_.Write(context_, result_, &response).ok());
  ASSERT_EQ(response.candidates_size(), 3);
  EXPECT_FLOAT_EQ(response.candidates(0).sum_logprob(), -1);
  EXPECT_FLOAT_EQ(response.candidates(2).sum_logprob(), -3);
  EXPECT_EQ(response.info().raw_text(), response.candidates(0).text());
  EXPECT_EQ(response.candidates(0).token_ids_size(), 0) << "not asked for";
  context_.options.logprobs_asked = true;
  response.Clear();
  ASSERT_TRUE(writer_.Write(context_, result_, &response).ok());
  EXPECT_THAT(response.candidates(0).token_ids(), ::testing::ElementsAre(10, 11));
  EXPECT_EQ(response.candidates(0).logprobs(0).token(), "a");
  EXPECT_EQ(response.candidates(0).logprobs(0).alternatives(0).token(), "c");
}

TEST_F(AnswerWriterTest, InfoTellsHowItWasMade) {
  context_.task = Task::kCaption;
  context_.sampled = true;
  AddCandidate(FinishReason::kMaxTokens).text = "words";
  result_.seed = 7;
  result_.usage.prompt_tokens = 9;
  result_.timing.queue = std::chrono::milliseconds(1500);
  v1::CaptionResponse response;
  ASSERT_TRUE(writer_.Write(context_, result_, &response).ok());
  EXPECT_EQ(response.caption(), "words");
  EXPECT_EQ(response.candidates_size(), 0) << "one candidate is the caption itself";
  const v1::GenerationInfo& info = response.info();
  EXPECT_EQ(info.request_id(), "id-1");
  EXPECT_EQ(info.model(), "models/test");
  EXPECT_EQ(info.model_revision(), "r1");
  EXPECT_EQ(info.finish_reason(), v1::FINISH_REASON_MAX_TOKENS);
  EXPECT_EQ(info.seed(), 7);
  EXPECT_EQ(info.prompt(), "a prompt");
  EXPECT_EQ(info.usage().prompt_token_count(), 9);
  EXPECT_EQ(info.timing().queue_duration().seconds(), 1);
  EXPECT_EQ(info.images(0).width(), 200);
}

TEST_F(AnswerWriterTest, AnObjectKeepsWhatCoreFound) {
  context_.task = Task::kDetect;
  context_.labels = {"B", "a"};
  Object found;
  found.label = "b";
  found.box = {0.5f, 0, 1, 0.25f};
  found.pixel_box = {100, 0, 200, 25};
  found.score = 0.5f;
  found.box_score = 0.25f;
  found.label_index = 0;
  Candidate& candidate = AddCandidate();
  candidate.objects = {found};
  candidate.num_dropped_objects = 3;
  v1::DetectResponse response;
  ASSERT_TRUE(writer_.Write(context_, result_, &response).ok());
  ASSERT_EQ(response.objects_size(), 1);
  const v1::DetectedObject& object = response.objects(0);
  EXPECT_EQ(object.label(), "b");
  EXPECT_FLOAT_EQ(object.normalized_box().x_min(), 0.5f);
  EXPECT_FLOAT_EQ(object.normalized_box().y_max(), 0.25f);
  EXPECT_EQ(object.pixel_box().x_max(), 200);
  EXPECT_FLOAT_EQ(object.score(), 0.5f);
  EXPECT_FLOAT_EQ(object.box_score(), 0.25f);
  EXPECT_FALSE(object.has_label_score());
  EXPECT_EQ(object.label_index(), 0);
  EXPECT_FALSE(object.has_mask());
  EXPECT_EQ(response.dropped_object_count(), 3);
  EXPECT_THAT(response.absent_label_indexes(), ::testing::ElementsAre(1));
}

TEST_F(AnswerWriterTest, ACutAnswerProvesNoAbsence) {
  context_.task = Task::kDetect;
  context_.labels = {"a", "b"};
  AddCandidate(FinishReason::kMaxTokens);
  v1::DetectResponse response;
  ASSERT_TRUE(writer_.Write(context_, result_, &response).ok());
  EXPECT_EQ(response.absent_label_indexes_size(), 0);
}

TEST_F(AnswerWriterTest, MasksInEveryFormat) {
  context_.task = Task::kSegment;
  Object found;
  found.mask = std::make_shared<ObjectMask>();
  found.mask->codes[0] = 7;
  found.mask->is_rendered = true;
  found.mask->rendered.region = {0, 0, 100, 50};
  found.mask->rendered.num_pixels = 5000;
  found.mask->rendered.rings = {{0, 0, 100, 50}};
  AddCandidate().objects = {found};
  for (const auto& [encoding, expected] : {std::pair(MaskEncoding::kPng, v1::Mask::kPng),
                                           {MaskEncoding::kRle, v1::Mask::kRle},
                                           {MaskEncoding::kPolygon, v1::Mask::kPolygon},
                                           {MaskEncoding::kSoft, v1::Mask::kSoft},
                                           {MaskEncoding::kCodes, v1::Mask::kCodes}}) {
    found.mask->encoding = encoding;
    v1::SegmentResponse response;
    ASSERT_TRUE(writer_.Write(context_, result_, &response).ok());
    ASSERT_EQ(response.objects_size(), 1);
    const v1::Mask& mask = response.objects(0).mask();
    EXPECT_EQ(mask.encoding_case(), expected);
    EXPECT_EQ(mask.region().x_max(), 100);
    EXPECT_EQ(mask.region().y_max(), 50);
    const bool is_codes = encoding == MaskEncoding::kCodes;
    EXPECT_EQ(mask.area_pixel_count(), is_codes ? 0 : 5000);
    EXPECT_EQ(mask.codes().indices_size(), is_codes ? 16 : 0);
  }
}

TEST_F(AnswerWriterTest, WithoutASequenceItIsAnInternalError) {
  context_.task = Task::kGenerate;
  v1::GenerateResponse response;
  EXPECT_EQ(writer_.Write(context_, result_, &response).reason(), Reason::kInternal);
}

}  // namespace
}  // namespace paligemma
