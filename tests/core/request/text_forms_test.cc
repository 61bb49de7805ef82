// SPDX-License-Identifier: Apache-2.0
#include "core/request/text_forms.h"

#include <gmock/gmock.h>

#include "tests/testing/test_manifest.h"

namespace paligemma {
namespace {

using ::testing::ElementsAre;
using ::testing::Optional;

TEST(TextFormsTest, EveryLineEndIsANewline) {
  for (const auto& [text, expected] :
       {std::pair("a\r\nb\r\n", "a\nb\n"), std::pair("a\rb", "a\nb"), std::pair("\r\r\n", "\n\n"),
        std::pair("a\n\nb", "a\n\nb"), std::pair("", ""), std::pair("\r", "\n")}) {
    std::string normal = text;
    NormalizeLineEnds(&normal);
    EXPECT_EQ(normal, expected);
  }
}

TEST(TextFormsTest, BlanksAreTrimmedAtBothEnds) {
  EXPECT_EQ(TrimBlanks(" \t a  b\r\n"), "a  b");
  EXPECT_EQ(TrimBlanks("\v\f"), "");
  EXPECT_EQ(TrimBlanks(""), "");
}

TEST(TextFormsTest, MarksAreTakenFromTheFrontAlone) {
  struct Case {
    const char* prompt;
    const char* rest;
    int images;
  };
  for (const Case& c : {Case{"<image>caption en", "caption en", 1},
                        {"<image><bos>caption en", "caption en", 1},
                        {"<image> <image>\n<bos>x", "x", 2},
                        {" <image>x", "x", 1},
                        {"<bos>caption en", "caption en", 0},
                        {"<image> caption en", " caption en", 1},
                        {"<image>", "", 1},
                        {"caption en<image>", "caption en<image>", 0},
                        {"<imagex>", "<imagex>", 0},
                        {"<bos><image>x", "<image>x", 0},
                        {" caption en", " caption en", 0},
                        {"", "", 0}}) {
    std::string prompt = c.prompt;
    EXPECT_EQ(TakeFrontMarks(&prompt), c.images) << c.prompt;
    EXPECT_EQ(prompt, c.rest) << c.prompt;
  }
}

TEST(TextFormsTest, ALanguageIsFoundUnderItsOtherNames) {
  const std::vector<std::string> known = {"en", "iw", "no", "fil", "zh", "quz", "id", "pt"};
  for (const auto& [code, expected] :
       {std::pair("he", "iw"), std::pair("iw", "iw"), std::pair("he-IL", "iw"),
        std::pair("nb", "no"), std::pair("nn_NO", "no"), std::pair("tl", "fil"),
        std::pair("cmn-Hans-CN", "zh"), std::pair("QU", "quz"), std::pair("in", "id"),
        std::pair("pt-BR", "pt"), std::pair("EN", "en")}) {
    EXPECT_THAT(FindLanguage(code, known), Optional(std::string(expected))) << code;
  }
  for (const char* code : {"de", "", "x-klingon", "hebrew", "-"}) {
    EXPECT_EQ(FindLanguage(code, known), std::nullopt) << code;
  }
  EXPECT_THAT(FindLanguage("iw", {"he"}), Optional(std::string("he")));
  EXPECT_THAT(FindLanguage("nb", {"no", "nb"}), Optional(std::string("nb")));  // its own first
}

TEST(TextFormsTest, ARawPromptMayBeWrittenAsAnotherTasks) {
  Manifest manifest = TestManifest();
  manifest.tasks[Task::kDetect].prompt = "detect {labels}";
  manifest.tasks[Task::kSegment].prompt = "segment {labels} now";
  const auto detect = FindWrittenTask("detect cow ;big ship\n", manifest);
  ASSERT_TRUE(detect.has_value());
  EXPECT_EQ(detect->task, Task::kDetect);
  EXPECT_THAT(detect->labels, ElementsAre("cow", "big ship"));
  const auto segment = FindWrittenTask("segment cow now", manifest);
  ASSERT_TRUE(segment.has_value());
  EXPECT_EQ(segment->task, Task::kSegment);
  for (const char* other : {"", "detect", "detect ", "detect  ; ", "detective cow", "Detect cow",
                            "segment cow", "segment now", "caption en"}) {
    EXPECT_FALSE(FindWrittenTask(other, manifest).has_value()) << other;
  }
  manifest.tasks[Task::kDetect].prompt = "{labels}";  // bare labels are like any other prompt
  EXPECT_FALSE(FindWrittenTask("detect cow", manifest).has_value());
  manifest.tasks.erase(Task::kDetect);
  EXPECT_FALSE(FindWrittenTask("detect cow", manifest).has_value());
}

}  // namespace
}  // namespace paligemma
