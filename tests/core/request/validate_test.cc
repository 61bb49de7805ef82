// SPDX-License-Identifier: Apache-2.0
#include "core/request/validate.h"

#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include "tests/testing/test_manifest.h"

namespace paligemma {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Pair;

using Change = std::function<void(Request*)>;

const float kNan = std::nanf("");

std::string FieldOf(const Status& status) {
  for (const auto& [key, value] : status.metadata()) {
    if (key == "field") return value;
  }
  return "";
}

class ValidateTest : public ::testing::Test {
 protected:
  ValidateTest() {
    manifest_.tasks[Task::kRead] = manifest_.tasks.at(Task::kGenerate);
    manifest_.tasks.at(Task::kCaption).long_prompt = "describe {lang}";
    rules_.manifest = &manifest_;
    rules_.model_name = "models/test";
    rules_.image_limits.max_bytes = 100;
    rules_.image_limits.max_pixels = 64;
    rules_.image_limits.max_side = 32;
  }

  // A request that has what its task needs, and nothing else.
  static Request Good(Task task) {
    Request request;
    request.task = task;
    request.arrival = TimePoint() + std::chrono::hours(1);
    request.images.emplace_back().encoded = "bytes";
    if (!TraitsOf(task).text_field.empty()) request.text = "a text";
    if (TraitsOf(task).has_labels) request.labels = {"cat"};
    return request;
  }

  Status Check(Request request) const { return ValidateRequest(rules_, &request); }
  Status CheckChanged(Task task, const Change& change) const {
    Request request = Good(task);
    change(&request);
    return Check(std::move(request));
  }

  Manifest manifest_ = TestManifest();
  RequestRules rules_;
};

TEST_F(ValidateTest, AGoodRequestOfEveryTaskPasses) {
  for (const TaskTraits& traits : kTasks) {
    const Status status = Check(Good(traits.task));
    EXPECT_TRUE(status.ok()) << traits.name << ": " << status.ToString();
  }
}

TEST_F(ValidateTest, EveryTaskThatTheModelLacksIsRefusedWithThoseItHas) {
  for (const TaskTraits& traits : kTasks) {
    const auto node = manifest_.tasks.extract(traits.task);
    const Status status = Check(Good(traits.task));
    EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition) << traits.name;
    EXPECT_EQ(status.reason(), Reason::kMethodUnsupported) << traits.name;
    EXPECT_THAT(status.metadata(), Contains(Pair("method", traits.name)));
    const std::string has = traits.task == Task::kCaption ? "Answer" : "Caption";
    EXPECT_THAT(status.metadata(), Contains(Pair("supported", HasSubstr(has))));
    manifest_.tasks[traits.task] = node.mapped();
  }
}

TEST_F(ValidateTest, AnotherModelIsNotFound) {
  Request request = Good(Task::kGenerate);
  request.model = "models/test";
  EXPECT_TRUE(Check(request).ok());
  request.model = "models/other";
  EXPECT_EQ(Check(request).code(), StatusCode::kNotFound);
  EXPECT_EQ(Check(request).reason(), Reason::kModelNotFound);
}

TEST_F(ValidateTest, DecodingIsHeldToItsRangesInEveryTask) {
  struct Case {
    const char* field;
    Change change;
  };
  const std::vector<Case> cases = {
      {"max_output_tokens", [](Request* r) { r->max_tokens = 0; }},
      {"max_output_tokens", [](Request* r) { r->max_tokens = 65; }},
      {"min_output_tokens", [](Request* r) { r->sampling.min_tokens = 17; }},  // the default is 16
      {"min_output_tokens", [](Request* r) { r->sampling.min_tokens = -1; }},
      {"temperature", [](Request* r) { r->sampling.temperature = -0.1f; }},
      {"temperature", [](Request* r) { r->sampling.temperature = 2.1f; }},
      {"temperature", [](Request* r) { r->sampling.temperature = kNan; }},
      {"top_p", [](Request* r) { r->sampling.top_p = 0; }},
      {"top_p", [](Request* r) { r->sampling.top_p = 1.01f; }},
      {"top_p", [](Request* r) { r->sampling.top_p = kNan; }},
      {"top_k", [](Request* r) { r->sampling.top_k = -1; }},
      {"top_k", [](Request* r) { r->sampling.top_k = 2001; }},
      {"repetition_penalty", [](Request* r) { r->sampling.repetition_penalty = 0; }},
      {"repetition_penalty", [](Request* r) { r->sampling.repetition_penalty = INFINITY; }},
      {"seed", [](Request* r) { r->seed = static_cast<std::uint64_t>(-1); }},
      {"seed", [](Request* r) { r->seed = kMaxSeed + 1; }},
      {"logprobs", [](Request* r) { r->logprobs = -1; }},
      {"logprobs", [](Request* r) { r->logprobs = 21; }},
      {"ignore_eos", [](Request* r) { r->sampling.ignore_eos = true; }},
      {"candidate_count", [](Request* r) { r->num_candidates = 0; }},
      {"candidate_count", [](Request* r) { r->num_candidates = 2; }},  // without a temperature
      {"stop_sequences", [](Request* r) { r->stop_sequences.resize(9, "x"); }},
      {"stop_sequences[1]",
       [](Request* r) {
         r->stop_sequences = {"x", ""};
       }},
      {"stop_sequences[0]", [](Request* r) { r->stop_sequences = {std::string(65, 'x')}; }},
  };
  for (const TaskTraits& traits : kTasks) {
    for (const Case& c : cases) {
      const Status status = CheckChanged(traits.task, c.change);
      EXPECT_EQ(status.reason(), Reason::kFieldInvalid) << traits.name << " " << c.field;
      EXPECT_EQ(FieldOf(status), std::string("generation_config.") + c.field) << traits.name;
    }
  }
  rules_.allow_ignore_eos = true;
  EXPECT_TRUE(
      CheckChanged(Task::kGenerate, [](Request* r) { r->sampling.ignore_eos = true; }).ok());
}

TEST_F(ValidateTest, SeveralCandidatesGoWithTasksThatHaveRoomForThem) {
  for (const TaskTraits& traits : kTasks) {
    const auto status = [&](int count) {
      return CheckChanged(traits.task, [count](Request* r) {
        r->sampling.temperature = 1;
        r->num_candidates = count;
      });
    };
    EXPECT_EQ(status(kMaxCandidates).ok(), traits.several_candidates) << traits.name;
    EXPECT_FALSE(status(kMaxCandidates + 1).ok()) << traits.name;
  }
}

TEST_F(ValidateTest, ATimeBudgetIsAboveZeroAndAtMostADay) {
  const auto with = [&](Duration budget) {
    return CheckChanged(Task::kRead,
                        [budget](Request* r) { r->time_budget = r->arrival + budget; });
  };
  EXPECT_TRUE(with(std::chrono::hours(24)).ok());
  EXPECT_TRUE(with(std::chrono::nanoseconds(1)).ok());
  for (const Duration budget :
       {Duration(0), Duration(-1), Duration(std::chrono::hours(24)) + Duration(1)}) {
    EXPECT_EQ(FieldOf(with(budget)), "options.time_budget") << budget.count();
  }
}

TEST_F(ValidateTest, ALanguageIsItsPrimarySubtag) {
  for (const auto& [code, expected] : {std::pair("", "en"), std::pair("en", "en"),
                                       std::pair("DE-at", "de"), std::pair("de_CH", "de")}) {
    Request request = Good(Task::kAnswer);
    request.language = code;
    EXPECT_TRUE(ValidateRequest(rules_, &request).ok());
    EXPECT_EQ(request.language, expected);
  }
  const Status status = CheckChanged(Task::kCaption, [](Request* r) { r->language = "tlh-x"; });
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(status.reason(), Reason::kLanguageUnsupported);
  EXPECT_THAT(status.metadata(),
              ::testing::ElementsAre(Pair("field", "language_code"), Pair("value", "tlh-x"),
                                     Pair("supported", "en, de")));
}

TEST_F(ValidateTest, ALanguageGetsTheModelsOwnName) {
  manifest_.tasks.at(Task::kCaption).languages = {"en", "iw", "no"};
  for (const auto& [code, expected] : {std::pair("he", "iw"), std::pair("nb-NO", "no")}) {
    Request request = Good(Task::kCaption);
    request.language = code;
    EXPECT_TRUE(ValidateRequest(rules_, &request).ok());
    EXPECT_EQ(request.language, expected);
  }
}

TEST_F(ValidateTest, PromptsAndQuestionsGetTheirNormalForm) {
  for (const Task task : {Task::kGenerate, Task::kAnswer}) {
    for (const auto& [text, expected] :
         {std::pair("<image>what\r\nis it", "what\nis it"), std::pair("<image><bos>what", "what"),
          std::pair("<bos>what", "what"), std::pair(" what ", " what ")}) {
      Request request = Good(task);
      request.text = text;
      EXPECT_TRUE(ValidateRequest(rules_, &request).ok());
      EXPECT_EQ(request.text, expected);
    }
    const Status status = CheckChanged(task, [](Request* r) { r->text = "<image><image>what"; });
    EXPECT_EQ(FieldOf(status), TraitsOf(task).text_field);
    EXPECT_THAT(status.metadata(), Contains(Pair("value", "2")));
    EXPECT_THAT(status.metadata(), Contains(Pair("limit", "1")));
    EXPECT_TRUE(CheckChanged(task, [](Request* r) {
                  r->text = "<image> <image>what";
                  r->images.push_back(r->images.front());
                }).ok());
  }
  EXPECT_EQ(FieldOf(CheckChanged(Task::kAnswer, [](Request* r) { r->text = "<image> "; })),
            "question");
}

TEST_F(ValidateTest, ARawPromptThatIsWrittenAsDetectHasItsLabels) {
  manifest_.tasks.at(Task::kDetect).prompt = "detect {labels}";
  Request request = Good(Task::kGenerate);
  request.text = "<image>detect cow ; ship";
  ASSERT_TRUE(ValidateRequest(rules_, &request).ok());
  EXPECT_EQ(request.text, "detect cow ; ship");
  EXPECT_EQ(ObjectTaskOf(request), Task::kDetect);
  EXPECT_THAT(request.labels, ::testing::ElementsAre("cow", "ship"));
  EXPECT_EQ(ObjectTaskOf(Good(Task::kGenerate)), Task::kGenerate);
}

TEST_F(ValidateTest, LabelsAreTrimmedBeforeTheyAreCompared) {
  Request request = Good(Task::kDetect);
  request.labels = {" cow ", "\tbig ship\r\n"};
  ASSERT_TRUE(ValidateRequest(rules_, &request).ok());
  EXPECT_THAT(request.labels, ::testing::ElementsAre("cow", "big ship"));
  EXPECT_EQ(FieldOf(CheckChanged(Task::kDetect,
                                 [](Request* r) {
                                   r->labels = {"a", " a"};
                                 })),
            "labels[1]");
  const Status several = CheckChanged(Task::kDetect, [](Request* r) { r->labels = {"a ; b"}; });
  EXPECT_THAT(std::string(several.message()), HasSubstr("one label per entry"));
}

TEST_F(ValidateTest, ATemplateWithoutALanguageTakesEnglishAlone) {
  manifest_.tasks.at(Task::kCaption).languages.clear();
  EXPECT_TRUE(Check(Good(Task::kCaption)).ok());
  EXPECT_EQ(CheckChanged(Task::kCaption, [](Request* r) { r->language = "de"; }).reason(),
            Reason::kLanguageUnsupported);
}

TEST_F(ValidateTest, ALongCaptionNeedsAModelThatWasTunedForIt) {
  const Change change = [](Request* r) { r->long_caption = true; };
  EXPECT_TRUE(CheckChanged(Task::kCaption, change).ok());
  manifest_.tasks.at(Task::kCaption).long_prompt.reset();
  const Status status = CheckChanged(Task::kCaption, change);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(FieldOf(status), "length");
}

TEST_F(ValidateTest, ARegionIsABoxAndGoesWithShortCaptions) {
  const auto with = [&](const Box& box, bool long_caption = false) {
    return CheckChanged(Task::kCaption, [&](Request* r) {
      r->region = box;
      r->long_caption = long_caption;
    });
  };
  EXPECT_TRUE(with({0, 0, 1, 1}).ok());
  for (const Box& box :
       {Box{0, 0, 0, 1}, Box{0.5f, 0, 0.2f, 1}, Box{0, 0, 1.1f, 1}, Box{kNan, 0, 1, 1}}) {
    EXPECT_EQ(FieldOf(with(box)), "region");
  }
  EXPECT_EQ(FieldOf(with({0, 0, 1, 1}, /*long_caption=*/true)), "region");
  manifest_.tokens.loc_count = 0;
  EXPECT_EQ(with({0, 0, 1, 1}).reason(), Reason::kMethodUnsupported);
}

TEST_F(ValidateTest, TextIsUtf8AndFits) {
  for (const Task task : {Task::kAnswer, Task::kGenerate}) {
    const std::string field(TraitsOf(task).text_field);
    for (const char* text : {"caf\xE9", "\xED\xA0\x80"}) {
      EXPECT_EQ(FieldOf(CheckChanged(task, [&](Request* r) { r->text = text; })), field);
    }
    EXPECT_EQ(FieldOf(CheckChanged(task, [](Request* r) { r->text = std::string("a\0b", 3); })),
              field);
    EXPECT_EQ(CheckChanged(task, [](Request* r) { r->text = std::string(100'000, 'x'); }).reason(),
              Reason::kPromptTooLong);
  }
}

TEST_F(ValidateTest, BlankMeansTheSameInQuestionsAndLabels) {
  for (const char* blank : {"", " ", " \n\t\r\v\f "}) {
    EXPECT_EQ(FieldOf(CheckChanged(Task::kAnswer, [&](Request* r) { r->text = blank; })),
              "question");
    EXPECT_EQ(FieldOf(CheckChanged(Task::kDetect, [&](Request* r) { r->labels = {blank}; })),
              "labels[0]");
    EXPECT_TRUE(CheckChanged(Task::kGenerate, [&](Request* r) { r->text = blank; }).ok());
  }
}

TEST_F(ValidateTest, LabelsAreChecked) {
  struct Case {
    const char* field;
    std::vector<std::string> labels;
  };
  const std::vector<Case> cases = {{"labels", {}},
                                   {"labels", {"a", "b", "c", "d", "e"}},
                                   {"labels[0]", {std::string(129, 'x')}},
                                   {"labels[0]", {"a;b"}},
                                   {"labels[0]", {"a\nb"}},
                                   {"labels[0]", {"a\x7F"}},
                                   {"labels[1]", {"a", "\xFF"}},
                                   {"labels[1]", {"a", "a"}}};
  for (const TaskTraits& traits : kTasks) {
    if (!traits.has_labels) continue;
    for (const Case& c : cases) {
      const Status status = CheckChanged(traits.task, [&](Request* r) { r->labels = c.labels; });
      EXPECT_EQ(status.reason(), Reason::kFieldInvalid) << traits.name;
      EXPECT_EQ(FieldOf(status), c.field) << traits.name;
    }
    EXPECT_TRUE(CheckChanged(traits.task, [](Request* r) {
                  r->labels = {std::string(128, 'a'), "b"};
                }).ok());
    EXPECT_EQ(FieldOf(CheckChanged(traits.task, [](Request* r) { r->max_objects = -1; })),
              "max_object_count");
  }
}

TEST_F(ValidateTest, ObjectsAndMasksAreAskedForWithinTheirRanges) {
  const std::vector<std::pair<const char*, Change>> cases = {
      {"min_score", [](Request* r) { r->min_score = 1.5f; }},
      {"min_score", [](Request* r) { r->min_score = -1.0f; }},
      {"min_score", [](Request* r) { r->min_score = kNan; }},
      {"mask_threshold", [](Request* r) { r->mask.threshold = 0; }},
      {"mask_threshold", [](Request* r) { r->mask.threshold = 1; }},
      {"mask_threshold", [](Request* r) { r->mask.threshold = kNan; }},
      {"mask_extent",
       [](Request* r) { r->mask = {.encoding = MaskEncoding::kSoft, .whole_image = true}; }},
      {"mask_extent",
       [](Request* r) { r->mask = {.encoding = MaskEncoding::kCodes, .whole_image = true}; }},
  };
  for (const auto& [field, change] : cases) {
    EXPECT_EQ(FieldOf(CheckChanged(Task::kSegment, change)), field);
  }
}

TEST_F(ValidateTest, ImagesAreBoundedInEveryTask) {
  const auto raw = [](int width, int height, PixelFormat format, std::size_t bytes) {
    return [=](Request* r) {
      r->images[0].is_raw = true;
      r->images[0].raw = {width, height, format, std::string(bytes, 'x')};
    };
  };
  struct Case {
    Reason reason;
    const char* field;  // below the picture's path
    Change change;
  };
  const std::vector<Case> cases = {
      {Reason::kImageMissing, ".content", [](Request* r) { r->images[0].encoded.clear(); }},
      {Reason::kImageTooLarge, ".content",
       [](Request* r) { r->images[0].encoded = std::string(101, 'x'); }},
      {Reason::kImageMissing, ".raw.data", raw(2, 2, PixelFormat::kRgb8, 0)},
      {Reason::kFieldInvalid, ".raw.data", raw(2, 2, PixelFormat::kRgb8, 11)},
      {Reason::kFieldInvalid, ".raw.data", raw(2, 2, PixelFormat::kGray8, 12)},
      {Reason::kFieldInvalid, ".raw.width", raw(0, 2, PixelFormat::kRgb8, 1)},
      {Reason::kFieldInvalid, ".raw.height", raw(2, -1, PixelFormat::kRgb8, 1)},
      {Reason::kImageTooLarge, ".raw.height", raw(1, 33, PixelFormat::kRgb8, 1)},
      {Reason::kImageTooLarge, ".raw", raw(10, 10, PixelFormat::kRgb8, 300)},
  };
  for (const TaskTraits& traits : kTasks) {
    for (const Case& c : cases) {
      const Status status = CheckChanged(traits.task, c.change);
      EXPECT_EQ(status.reason(), c.reason) << traits.name << c.field;
      EXPECT_EQ(FieldOf(status), ImagePath(traits.task, 0) + c.field) << traits.name;
    }
    EXPECT_TRUE(CheckChanged(traits.task, raw(2, 3, PixelFormat::kRgb8, 18)).ok()) << traits.name;
    EXPECT_TRUE(CheckChanged(traits.task, raw(2, 3, PixelFormat::kGray8, 6)).ok()) << traits.name;
  }
}

TEST_F(ValidateTest, AsManyImagesAsTheTaskAndTheModelTake) {
  for (const TaskTraits& traits : kTasks) {
    const auto with = [&](std::size_t count) {
      return CheckChanged(traits.task,
                          [count](Request* r) { r->images.resize(count, r->images[0]); });
    };
    const std::string list = traits.several_images ? "images" : "image";
    EXPECT_EQ(with(0).reason(), Reason::kImageMissing) << traits.name;
    EXPECT_EQ(FieldOf(with(0)), list);
    EXPECT_EQ(with(2).ok(), traits.several_images) << traits.name;
    EXPECT_EQ(FieldOf(with(3)), list);
  }
}

}  // namespace
}  // namespace paligemma
