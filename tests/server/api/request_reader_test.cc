// SPDX-License-Identifier: Apache-2.0
#include "server/api/request_reader.h"

#include <gmock/gmock.h>

#include <functional>
#include <limits>

namespace paligemma {
namespace {

class RequestReaderTest : public ::testing::Test {
 protected:
  template <typename Message>
  StatusOr<ParsedRequest> Read(Message message) {
    return ReadRequest(&message, now_);
  }

  static std::string FieldOf(const Status& status) {
    for (const auto& [key, value] : status.metadata()) {
      if (key == "field") return value;
    }
    return "";
  }

  static v1::GenerateRequest GoodGenerate() {
    v1::GenerateRequest request;
    request.add_images()->set_content("bytes");
    request.set_prompt("a prompt");
    return request;
  }
  static v1::SegmentRequest GoodSegment() {
    v1::SegmentRequest request;
    request.mutable_image()->set_content("bytes");
    request.add_labels("cat");
    return request;
  }

  const TimePoint now_ = TimePoint() + std::chrono::hours(1);
};

TEST_F(RequestReaderTest, EveryFieldArrives) {
  v1::GenerateRequest request = GoodGenerate();
  request.set_model("models/test");
  auto* config = request.mutable_generation_config();
  config->set_max_output_tokens(20);
  config->set_min_output_tokens(2);
  config->set_temperature(0.7f);
  config->set_top_p(0.9f);
  config->set_top_k(5);
  config->set_repetition_penalty(1.1f);
  config->add_stop_sequences("stop");
  config->set_seed(42);
  config->set_candidate_count(3);
  config->set_logprobs(2);
  auto* options = request.mutable_options();
  options->set_priority(v1::PRIORITY_HIGH);
  options->mutable_time_budget()->set_seconds(2);
  options->set_cache_policy(v1::CACHE_POLICY_BYPASS);
  (*options->mutable_tags())["team"] = "x";
  const auto parsed = Read(request);
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  const Request& out = parsed->request;
  EXPECT_EQ(out.text, "a prompt");
  EXPECT_EQ(out.images.at(0).encoded, "bytes");
  EXPECT_EQ(out.model, "models/test");
  EXPECT_EQ(out.arrival, now_);
  EXPECT_EQ(out.max_tokens, 20);
  EXPECT_EQ(out.sampling.min_tokens, 2);
  EXPECT_FLOAT_EQ(out.sampling.temperature, 0.7f);
  EXPECT_FLOAT_EQ(out.sampling.top_p, 0.9f);
  EXPECT_EQ(out.sampling.top_k, 5);
  EXPECT_FLOAT_EQ(out.sampling.repetition_penalty, 1.1f);
  EXPECT_THAT(out.stop_sequences, ::testing::ElementsAre("stop"));
  EXPECT_EQ(out.seed, 42u);
  EXPECT_EQ(out.num_candidates, 3);
  EXPECT_EQ(out.logprobs, 2);
  EXPECT_TRUE(parsed->response.logprobs_asked);
  EXPECT_EQ(out.priority, Priority::kHigh);
  EXPECT_EQ(out.time_budget, now_ + std::chrono::seconds(2));
  EXPECT_FALSE(out.use_cache);
  EXPECT_EQ(parsed->response.tags.at("team"), "x");
}

TEST_F(RequestReaderTest, WhatIsNotSetStaysUnset) {
  const auto parsed = Read(GoodGenerate());
  ASSERT_TRUE(parsed.ok());
  const Request& out = parsed->request;
  EXPECT_FALSE(out.max_tokens.has_value());
  EXPECT_FALSE(out.seed.has_value());
  EXPECT_FALSE(out.logprobs.has_value());
  EXPECT_EQ(out.num_candidates, 1);
  EXPECT_EQ(out.time_budget, kNoDeadline);
}

// The rules refuse it; it must not look like a value that is unset or allowed.
TEST_F(RequestReaderTest, NumbersBelowZeroArriveAsTheyAre) {
  v1::GenerateRequest request = GoodGenerate();
  auto* config = request.mutable_generation_config();
  config->set_seed(-1);
  config->set_logprobs(-1);
  config->set_candidate_count(-1);
  config->set_max_output_tokens(-1);
  auto* budget = request.mutable_options()->mutable_time_budget();
  budget->set_seconds(std::numeric_limits<std::int64_t>::min());
  const auto parsed = Read(request);
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  EXPECT_EQ(parsed->request.seed, static_cast<std::uint64_t>(-1));
  EXPECT_EQ(parsed->request.logprobs, -1);
  EXPECT_EQ(parsed->request.num_candidates, -1);
  EXPECT_EQ(parsed->request.max_tokens, -1);
  EXPECT_LT(parsed->request.time_budget, now_);
}

TEST_F(RequestReaderTest, RawPixelsArrive) {
  v1::GenerateRequest request = GoodGenerate();
  auto* pixels = request.add_images()->mutable_raw();
  pixels->set_width(2);
  pixels->set_height(3);
  pixels->set_pixel_format(v1::PIXEL_FORMAT_GRAY8);
  pixels->set_data("abcdef");
  const auto parsed = Read(request);
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  const ImageInput& image = parsed->request.images.at(1);
  EXPECT_TRUE(image.is_raw);
  EXPECT_EQ(image.raw.width, 2);
  EXPECT_EQ(image.raw.height, 3);
  EXPECT_EQ(image.raw.format, PixelFormat::kGray8);
  EXPECT_EQ(image.raw.data, "abcdef");
}

TEST_F(RequestReaderTest, ACaptionsFieldsArrive) {
  v1::CaptionRequest request;
  request.add_images()->set_content("bytes");
  request.set_language_code("de-AT");
  request.set_length(v1::CAPTION_LENGTH_LONG);
  request.mutable_region()->set_x_max(0.5f);
  const auto parsed = Read(request);
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  EXPECT_EQ(parsed->request.task, Task::kCaption);
  EXPECT_EQ(parsed->request.language, "de-AT");
  EXPECT_TRUE(parsed->request.long_caption);
  EXPECT_EQ(parsed->request.region->x_max, 0.5f);
}

TEST_F(RequestReaderTest, ObjectsFieldsArrive) {
  v1::SegmentRequest request = GoodSegment();
  request.set_mask_format(v1::MASK_FORMAT_RLE);
  request.set_mask_threshold(0.75f);
  request.set_min_score(0.25f);
  request.set_max_object_count(3);
  request.set_label_mode(v1::LABEL_MODE_SEPARATE);
  const auto parsed = Read(request);
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  EXPECT_THAT(parsed->request.labels, ::testing::ElementsAre("cat"));
  EXPECT_FALSE(parsed->response.logprobs_asked);
  EXPECT_EQ(parsed->request.mask.encoding, MaskEncoding::kRle);
  EXPECT_TRUE(parsed->request.mask.whole_image) << "by default for RLE";
  EXPECT_EQ(parsed->request.min_score, 0.25f);
  EXPECT_EQ(parsed->request.mask.threshold, 0.75f);
  EXPECT_FALSE(parsed->request.streamed);
  EXPECT_EQ(parsed->request.max_objects, 3);
  EXPECT_TRUE(parsed->request.separate_labels);
}

TEST_F(RequestReaderTest, EveryMaskFormatArrives) {
  for (const auto& [format, encoding] : {std::pair(v1::MASK_FORMAT_UNSPECIFIED, MaskEncoding::kPng),
                                         {v1::MASK_FORMAT_PNG, MaskEncoding::kPng},
                                         {v1::MASK_FORMAT_POLYGON, MaskEncoding::kPolygon},
                                         {v1::MASK_FORMAT_SOFT, MaskEncoding::kSoft},
                                         {v1::MASK_FORMAT_CODES, MaskEncoding::kCodes},
                                         {v1::MASK_FORMAT_NONE, MaskEncoding::kNone}}) {
    v1::SegmentRequest request = GoodSegment();
    request.set_mask_format(format);
    const auto parsed = Read(request);
    ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
    EXPECT_EQ(parsed->request.mask.encoding, encoding);
    EXPECT_FALSE(parsed->request.mask.whole_image);
  }
}

TEST_F(RequestReaderTest, TheModelInTheMetadataIsTheRequests) {
  EXPECT_TRUE(CheckModelMetadata("", "", "models/test").ok());
  EXPECT_TRUE(CheckModelMetadata("models/test", "", "models/test").ok());
  EXPECT_TRUE(CheckModelMetadata("models/test", "models/test", "models/test").ok());
  EXPECT_EQ(FieldOf(CheckModelMetadata("models/other", "", "models/test")), "model");
}

TEST_F(RequestReaderTest, WhatARequestCannotHoldIsRefused) {
  struct Case {
    const char* field;
    std::function<void(v1::SegmentRequest*)> change;
  };
  const std::vector<Case> cases = {
      {"mask_format", [](auto* r) { r->set_mask_format(static_cast<v1::MaskFormat>(99)); }},
      {"label_mode", [](auto* r) { r->set_label_mode(static_cast<v1::LabelMode>(99)); }},
      {"mask_extent", [](auto* r) { r->set_mask_extent(static_cast<v1::MaskExtent>(99)); }},
      {"options.priority",
       [](auto* r) { r->mutable_options()->set_priority(static_cast<v1::Priority>(9)); }},
      {"options.time_budget",
       [](auto* r) { r->mutable_options()->mutable_time_budget()->set_nanos(1'000'000'000); }},
      {"options.time_budget",
       [](auto* r) {
         r->mutable_options()->mutable_time_budget()->set_seconds(1);
         r->mutable_options()->mutable_time_budget()->set_nanos(-1);
       }},
      {"options.cache_policy",
       [](auto* r) { r->mutable_options()->set_cache_policy(static_cast<v1::CachePolicy>(9)); }},
      {"image.raw.pixel_format", [](auto* r) { r->mutable_image()->mutable_raw(); }},
      {"image", [](auto* r) { r->mutable_image()->Clear(); }},
      {"options.tags",
       [](auto* r) {
         for (int i = 0; i < 9; ++i) {
           (*r->mutable_options()->mutable_tags())[std::to_string(i)] = "";
         }
       }},
  };
  for (const Case& c : cases) {
    v1::SegmentRequest request = GoodSegment();
    c.change(&request);
    const auto parsed = Read(request);
    ASSERT_FALSE(parsed.ok()) << c.field;
    EXPECT_EQ(FieldOf(parsed.status()), c.field);
  }
}

TEST_F(RequestReaderTest, AStreamsTaskIsPartOfThePath) {
  v1::StreamGenerateRequest request;
  EXPECT_EQ(FieldOf(Read(request).status()), "task");
  *request.mutable_task()->mutable_segment() = GoodSegment();
  request.set_omit_streamed_masks(true);
  ASSERT_TRUE(Read(request).ok());
  EXPECT_TRUE(Read(request)->response.omit_streamed_masks);
  EXPECT_TRUE(Read(request)->request.streamed);
  request.mutable_task()->mutable_segment()->set_label_mode(static_cast<v1::LabelMode>(99));
  EXPECT_EQ(FieldOf(Read(request).status()), "task.segment.label_mode");
}

}  // namespace
}  // namespace paligemma
