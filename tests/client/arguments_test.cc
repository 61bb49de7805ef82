// SPDX-License-Identifier: Apache-2.0
#include "client/arguments.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

namespace paligemma::client {
namespace {

using ::testing::ElementsAre;

TEST(ArgumentsTest, TheTextIsTheLastOfThose) {
  Arguments arguments;
  arguments.command = "answer";
  arguments.positional = {"a.png", "b.png", "what is it?"};
  const auto text = TakeText(&arguments);
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(*text, "what is it?");
  EXPECT_THAT(arguments.positional, ElementsAre("a.png", "b.png"));
}

TEST(ArgumentsTest, LabelsTakeTheTextsPlace) {
  Arguments arguments;
  arguments.command = "detect";
  arguments.positional = {"a.png"};
  EXPECT_FALSE(TakeText(&arguments).ok());
  arguments.labels = {"cat"};
  const auto text = TakeText(&arguments);
  ASSERT_TRUE(text.ok());
  const v1::TaskRequest task = MakeTask(arguments, *text, {{"a.png", "bytes"}});
  EXPECT_THAT(task.detect().labels(), ElementsAre("cat"));
}

TEST(ArgumentsTest, AFullRequest) {
  Arguments arguments;
  arguments.command = "segment";
  arguments.model = "m";
  arguments.max_tokens = 5;
  arguments.temperature = 0.5f;
  arguments.seed = 3;
  arguments.separate = true;
  const v1::TaskRequest task = MakeTask(arguments, " cat ;dog; ", {{"a.png", "bytes"}});
  const v1::SegmentRequest& request = task.segment();
  EXPECT_EQ(request.model(), "models/m");
  EXPECT_EQ(request.image().content(), "bytes");
  EXPECT_THAT(request.labels(), ElementsAre("cat", "dog"));
  EXPECT_EQ(request.label_mode(), v1::LABEL_MODE_SEPARATE);
  EXPECT_EQ(request.generation_config().max_output_tokens(), 5);
  EXPECT_FLOAT_EQ(request.generation_config().temperature(), 0.5f);
  EXPECT_EQ(request.generation_config().seed(), 3);
  EXPECT_FALSE(request.generation_config().has_top_p());
}

TEST(ArgumentsTest, ADirectoryBecomesItsPictures) {
  const std::string directory = ::testing::TempDir() + "/pictures";
  std::filesystem::create_directories(directory);
  for (const char* name : {"b.PNG", "a.jpg", "notes.txt"}) {
    std::ofstream file(directory + "/" + name);
  }
  const auto names = ExpandImages({"-", directory});
  ASSERT_TRUE(names.ok());
  EXPECT_THAT(*names, ElementsAre("-", directory + "/a.jpg", directory + "/b.PNG"));
  EXPECT_FALSE(ReadImage(directory + "/missing.png", nullptr).ok());
}

}  // namespace
}  // namespace paligemma::client
