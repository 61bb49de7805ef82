// SPDX-License-Identifier: Apache-2.0
#include "server/request_parser.h"

#include <gmock/gmock.h>

#include <cmath>
#include <functional>

#include "tests/server/test_manifest.h"

namespace paligemma {
namespace {

class RequestParserTest : public ::testing::Test {
 protected:
  RequestParserTest() {
    options_.manifest = &manifest_;
    options_.model_name = "models/test";
    options_.max_image_bytes = 100;
    options_.max_image_pixels = 64;
  }

  template <typename Proto>
  StatusOr<ParsedRequest> Parse(Proto proto) {
    return ParseRequest(&proto, options_, now_);
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

  const Manifest manifest_ = TestManifest();
  ParserOptions options_;
  const TimePoint now_ = TimePoint() + std::chrono::hours(1);
};

TEST_F(RequestParserTest, EveryFieldArrives) {
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
  const auto parsed = Parse(request);
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  const Request& out = parsed->request;
  EXPECT_EQ(out.text, "a prompt");
  EXPECT_EQ(out.images.at(0).encoded, "bytes");
  EXPECT_EQ(out.max_tokens, 20);
  EXPECT_EQ(out.sampling.min_tokens, 2);
  EXPECT_FLOAT_EQ(out.sampling.temperature, 0.7f);
  EXPECT_FLOAT_EQ(out.sampling.top_p, 0.9f);
  EXPECT_EQ(out.sampling.top_k, 5);
  EXPECT_FLOAT_EQ(out.sampling.repetition_penalty, 1.1f);
  EXPECT_THAT(out.stop_sequences, ::testing::ElementsAre("stop"));
  EXPECT_EQ(out.seed, 42u);
  EXPECT_EQ(out.num_candidates, 3);
  EXPECT_EQ(out.sampling.logprobs, 2);
  EXPECT_TRUE(parsed->response.logprobs_asked);
  EXPECT_EQ(out.priority, Priority::kHigh);
  EXPECT_EQ(out.time_budget, now_ + std::chrono::seconds(2));
  EXPECT_FALSE(out.use_cache);
  EXPECT_EQ(parsed->response.tags.at("team"), "x");
}

TEST_F(RequestParserTest, DefaultsAreTheMethods) {
  const auto parsed = Parse(GoodGenerate());
  ASSERT_TRUE(parsed.ok());
  EXPECT_FALSE(parsed->request.max_tokens.has_value());
  EXPECT_EQ(MaxTokensOf(parsed->request, manifest_), 16);
  EXPECT_FALSE(parsed->request.seed.has_value());
  EXPECT_EQ(parsed->request.sampling.logprobs, -1);
  EXPECT_EQ(parsed->request.time_budget, kNoDeadline);
}

TEST_F(RequestParserTest, EachWrongFieldIsNamed) {
  using Config = v1::GenerationConfig;
  struct Case {
    const char* field;
    std::function<void(Config*)> change;
  };
  const std::vector<Case> cases = {
      {"max_output_tokens", [](Config* c) { c->set_max_output_tokens(0); }},
      {"max_output_tokens", [](Config* c) { c->set_max_output_tokens(65); }},
      {"min_output_tokens", [](Config* c) { c->set_min_output_tokens(17); }},
      {"min_output_tokens", [](Config* c) { c->set_min_output_tokens(-1); }},
      {"temperature", [](Config* c) { c->set_temperature(-0.1f); }},
      {"temperature", [](Config* c) { c->set_temperature(2.1f); }},
      {"temperature", [](Config* c) { c->set_temperature(std::nanf("")); }},
      {"top_p", [](Config* c) { c->set_top_p(0); }},
      {"top_p", [](Config* c) { c->set_top_p(1.01f); }},
      {"top_k", [](Config* c) { c->set_top_k(-1); }},
      {"repetition_penalty", [](Config* c) { c->set_repetition_penalty(0); }},
      {"repetition_penalty", [](Config* c) { c->set_repetition_penalty(INFINITY); }},
      {"stop_sequences[0]", [](Config* c) { c->add_stop_sequences(); }},
      {"stop_sequences[0]", [](Config* c) { c->add_stop_sequences(std::string(65, 'x')); }},
      {"stop_sequences",
       [](Config* c) {
         for (int i = 0; i < 9; ++i) *c->add_stop_sequences() += 'x';
       }},
      {"seed", [](Config* c) { c->set_seed(-1); }},
      {"candidate_count", [](Config* c) { c->set_candidate_count(0); }},
      {"candidate_count", [](Config* c) { c->set_candidate_count(2); }},  // without temperature
      {"candidate_count",
       [](Config* c) {
         c->set_temperature(1);
         c->set_candidate_count(9);
       }},
      {"logprobs", [](Config* c) { c->set_logprobs(21); }},
      {"logprobs", [](Config* c) { c->set_logprobs(-1); }},
      {"ignore_eos", [](Config* c) { c->set_ignore_eos(true); }},
  };
  for (const Case& c : cases) {
    v1::GenerateRequest request = GoodGenerate();
    c.change(request.mutable_generation_config());
    const auto parsed = Parse(request);
    ASSERT_FALSE(parsed.ok()) << c.field;
    EXPECT_EQ(parsed.status().reason(), Reason::kFieldInvalid) << c.field;
    EXPECT_EQ(FieldOf(parsed.status()), std::string("generation_config.") + c.field);
  }
}

TEST_F(RequestParserTest, ImagesAreBounded) {
  struct Case {
    Reason reason;
    const char* field;
    std::function<void(v1::GenerateRequest*)> change;
  };
  const auto raw = [](int width, int height, v1::PixelFormat format, size_t bytes) {
    return [=](v1::GenerateRequest* r) {
      auto* pixels = r->mutable_images(0)->mutable_raw();
      pixels->set_width(width);
      pixels->set_height(height);
      pixels->set_pixel_format(format);
      pixels->set_data(std::string(bytes, 'x'));
    };
  };
  const auto rgb = v1::PIXEL_FORMAT_RGB8;
  const std::vector<Case> cases = {
      {Reason::kImageMissing, "images", [](auto* r) { r->clear_images(); }},
      {Reason::kImageMissing, "images[0]", [](auto* r) { r->mutable_images(0)->Clear(); }},
      {Reason::kImageMissing, "images[0].content",
       [](auto* r) { r->mutable_images(0)->set_content(""); }},
      {Reason::kImageTooLarge, "images[0].content",
       [](auto* r) { r->mutable_images(0)->set_content(std::string(101, 'x')); }},
      {Reason::kFieldInvalid, "images",
       [](auto* r) {
         for (int i = 0; i < 2; ++i) r->add_images()->set_content("x");
       }},
      {Reason::kFieldInvalid, "images[0].raw.data", raw(2, 2, rgb, 11)},
      {Reason::kFieldInvalid, "images[0].raw.width", raw(0, 2, rgb, 1)},
      {Reason::kFieldInvalid, "images[0].raw.pixel_format",
       raw(2, 2, v1::PIXEL_FORMAT_UNSPECIFIED, 12)},
      {Reason::kImageTooLarge, "images[0].raw.height", raw(1, 20000, rgb, 1)},
      {Reason::kImageTooLarge, "images[0].raw", raw(10, 10, rgb, 300)},
      {Reason::kImageMissing, "images[0].raw.data", raw(2, 2, rgb, 0)},
  };
  for (const Case& c : cases) {
    v1::GenerateRequest request = GoodGenerate();
    c.change(&request);
    const auto parsed = Parse(request);
    ASSERT_FALSE(parsed.ok()) << c.field;
    EXPECT_EQ(parsed.status().reason(), c.reason) << parsed.status().ToString();
    EXPECT_EQ(FieldOf(parsed.status()), c.field);
  }
  v1::GenerateRequest good = GoodGenerate();
  raw(2, 3, rgb, 18)(&good);
  EXPECT_TRUE(Parse(good).ok());
}

TEST_F(RequestParserTest, ModelsMethodsAndLanguages) {
  v1::GenerateRequest request = GoodGenerate();
  request.set_model("models/other");
  EXPECT_EQ(Parse(request).status().reason(), Reason::kModelNotFound);
  v1::ReadTextRequest read;
  read.mutable_image()->set_content("x");
  EXPECT_EQ(Parse(read).status().reason(), Reason::kMethodUnsupported);
  EXPECT_EQ(Parse(read).status().code(), StatusCode::kFailedPrecondition);
  v1::CaptionRequest caption;
  caption.add_images()->set_content("x");
  EXPECT_EQ(Parse(caption)->request.language, "en");
  caption.set_language_code("DE-at");
  EXPECT_EQ(Parse(caption)->request.language, "de");
  caption.set_language_code("fr");
  EXPECT_EQ(Parse(caption).status().reason(), Reason::kLanguageUnsupported);
  caption.clear_language_code();
  caption.set_length(v1::CAPTION_LENGTH_LONG);
  EXPECT_EQ(FieldOf(Parse(caption).status()), "length");
  EXPECT_TRUE(CheckModelMetadata("", "", options_).ok());
  EXPECT_TRUE(CheckModelMetadata("models/test", "", options_).ok());
  EXPECT_FALSE(CheckModelMetadata("models/other", "", options_).ok());
}

TEST_F(RequestParserTest, Labels) {
  struct Case {
    const char* field;
    std::vector<std::string> labels;
  };
  for (const Case& c : std::vector<Case>{{"labels", {}},
                                         {"labels", {"a", "b", "c", "d", "e"}},
                                         {"labels[0]", {""}},
                                         {"labels[0]", {"  "}},
                                         {"labels[0]", {std::string(129, 'x')}},
                                         {"labels[0]", {"a;b"}},
                                         {"labels[0]", {"a\nb"}},
                                         {"labels[1]", {"a", "a"}}}) {
    v1::SegmentRequest request = GoodSegment();
    request.clear_labels();
    for (const std::string& label : c.labels) request.add_labels(label);
    const auto parsed = Parse(request);
    ASSERT_FALSE(parsed.ok());
    EXPECT_EQ(FieldOf(parsed.status()), c.field);
  }
}

TEST_F(RequestParserTest, ObjectsAskForLogprobsThemselves) {
  v1::SegmentRequest request = GoodSegment();
  request.set_mask_format(v1::MASK_FORMAT_RLE);
  request.set_max_object_count(3);
  request.set_label_mode(v1::LABEL_MODE_SEPARATE);
  const auto parsed = Parse(request);
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  EXPECT_EQ(parsed->request.sampling.logprobs, 0);
  EXPECT_FALSE(parsed->response.logprobs_asked);
  EXPECT_EQ(parsed->response.mask_extent, v1::MASK_EXTENT_IMAGE);
  EXPECT_EQ(parsed->request.max_objects, 3);
  EXPECT_TRUE(parsed->request.separate_labels);
}

TEST_F(RequestParserTest, MaskOptionsAndScores) {
  struct Case {
    const char* field;
    std::function<void(v1::SegmentRequest*)> change;
  };
  const std::vector<Case> cases = {
      {"mask_threshold", [](auto* r) { r->set_mask_threshold(0); }},
      {"mask_threshold", [](auto* r) { r->set_mask_threshold(1); }},
      {"min_score", [](auto* r) { r->set_min_score(1.5f); }},
      {"max_object_count", [](auto* r) { r->set_max_object_count(-1); }},
      {"mask_format", [](auto* r) { r->set_mask_format(static_cast<v1::MaskFormat>(99)); }},
      {"label_mode", [](auto* r) { r->set_label_mode(static_cast<v1::LabelMode>(99)); }},
      {"mask_extent",
       [](auto* r) {
         r->set_mask_format(v1::MASK_FORMAT_SOFT);
         r->set_mask_extent(v1::MASK_EXTENT_IMAGE);
       }},
      {"options.priority",
       [](auto* r) { r->mutable_options()->set_priority(static_cast<v1::Priority>(9)); }},
      {"options.time_budget",
       [](auto* r) { r->mutable_options()->mutable_time_budget()->set_seconds(0); }},
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
    const auto parsed = Parse(request);
    ASSERT_FALSE(parsed.ok()) << c.field;
    EXPECT_EQ(FieldOf(parsed.status()), c.field);
  }
}

TEST_F(RequestParserTest, AStreamsTaskIsPartOfThePath) {
  v1::StreamGenerateRequest request;
  EXPECT_EQ(FieldOf(Parse(request).status()), "task");
  *request.mutable_task()->mutable_segment() = GoodSegment();
  request.set_omit_streamed_masks(true);
  ASSERT_TRUE(Parse(request).ok());
  EXPECT_TRUE(Parse(request)->response.omit_streamed_masks);
  request.mutable_task()->mutable_segment()->set_min_score(-1);
  EXPECT_EQ(FieldOf(Parse(request).status()), "task.segment.min_score");
}

TEST_F(RequestParserTest, ALongPromptAndAnEmptyQuestion) {
  v1::GenerateRequest request = GoodGenerate();
  request.set_prompt("");
  EXPECT_TRUE(Parse(request).ok());
  request.set_prompt(std::string(100'000, 'x'));
  EXPECT_EQ(Parse(request).status().reason(), Reason::kPromptTooLong);
  v1::AnswerRequest answer;
  answer.add_images()->set_content("x");
  answer.set_question(" ");
  EXPECT_EQ(FieldOf(Parse(answer).status()), "question");
}

}  // namespace
}  // namespace paligemma
