// SPDX-License-Identifier: Apache-2.0
#include "client/run.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "client/png_writer.h"
#include "tests/client/fake_server.h"

namespace paligemma::client {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class RunTest : public ::testing::Test {
 protected:
  RunTest()
      : folder_(::testing::TempDir() + "/" +
                ::testing::UnitTest::GetInstance()->current_test_info()->name()) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    for (const char* name : {"a.png", "b.png"}) {
      std::ofstream(folder_ + "/" + name)
          << EncodePng({60, 50, std::vector<std::uint8_t>(size_t{60} * 50 * 3, 128)});
    }
    arguments_.client.server = server_.address();
    arguments_.command = "caption";
    arguments_.positional = {folder_ + "/a.png"};
    // The caption tells which picture came: its size in bytes.
    server_.on_task = [](grpc::ServerContext*, const v1::TaskRequest& task,
                         v1::TaskResponse* answer) {
      std::string text;
      for (const v1::Image& image : task.caption().images()) {
        text += std::to_string(image.content().size()) + " ";
      }
      answer->mutable_caption()->set_caption(text + "bytes");
      return grpc::Status::OK;
    };
  }

  int Run() {
    out_.str("");
    err_.str("");
    return RunTask(arguments_, {&in_, &out_, &err_, false});
  }
  std::vector<json> Lines() const {
    std::vector<json> lines;
    std::istringstream text(out_.str());
    for (std::string line; std::getline(text, line);) lines.push_back(json::parse(line));
    return lines;
  }
  void FailWith(const grpc::Status& status) {
    server_.on_task = [status](grpc::ServerContext*, const v1::TaskRequest&, v1::TaskResponse*) {
      return status;
    };
  }

  const std::string folder_;
  FakeServer server_;
  Arguments arguments_;
  std::istringstream in_;
  std::ostringstream out_, err_;
};

TEST_F(RunTest, AnAnswerIsPrinted) {
  EXPECT_EQ(Run(), kAnswered);
  EXPECT_THAT(out_.str(), HasSubstr(" bytes\n"));
  EXPECT_THAT(err_.str(), IsEmpty());
}

TEST_F(RunTest, APictureAboveTheLimitIsResizedAndSaidOnce) {
  arguments_.command = "detect";
  arguments_.labels = {"cow ; ship"};
  arguments_.positional = {folder_ + "/a.png", folder_ + "/b.png"};
  arguments_.concurrency = 1;
  arguments_.json = true;
  server_.on_list = [](const v1::ListModelsRequest&, v1::ListModelsResponse* answer) {
    v1::Model* const model = answer->add_models();
    model->set_name("models/a");
    model->set_image_size(28);
    model->set_resampling(v1::RESAMPLING_PILLOW_BICUBIC);
    model->set_padding(v1::PADDING_SQUASH);
    model->mutable_limits()->set_max_image_pixels(1000);
  };
  server_.on_task = [](grpc::ServerContext*, const v1::TaskRequest& task,
                       v1::TaskResponse* answer) {
    EXPECT_EQ(task.detect().labels_size(), 2);
    if (!task.detect().image().has_raw()) {
      return RichError(grpc::StatusCode::INVALID_ARGUMENT, "IMAGE_TOO_LARGE");
    }
    v1::DetectedObject* const object = answer->mutable_detect()->add_objects();
    object->mutable_normalized_box()->set_x_max(0.5f);
    object->mutable_pixel_box()->set_x_max(14);
    return grpc::Status::OK;
  };
  EXPECT_EQ(Run(), kAnswered);
  for (const json& line : Lines()) {
    EXPECT_EQ(line["response"]["objects"][0]["pixel_box"]["x_max"], 30) << line;
  }
  const std::string said = err_.str();
  EXPECT_THAT(said, HasSubstr("60 x 50 pixels exceeds"));
  EXPECT_EQ(said.find("exceeds"), said.rfind("exceeds"));
}

TEST_F(RunTest, ADashReadsStandardInput) {
  in_.str("12345");
  arguments_.positional = {"-"};
  EXPECT_EQ(Run(), kAnswered);
  EXPECT_EQ(out_.str(), "5 bytes\n");
}

TEST_F(RunTest, ADirectoryIsACallForEachPicture) {
  arguments_.positional = {folder_};
  arguments_.json = true;
  EXPECT_EQ(Run(), kAnswered);
  std::vector<json> lines = Lines();
  ASSERT_EQ(lines.size(), 2u);
  std::sort(lines.begin(), lines.end(),
            [](const json& a, const json& b) { return a["image"] < b["image"]; });
  EXPECT_EQ(lines[0]["image"], folder_ + "/a.png");
  EXPECT_EQ(lines[1]["image"], folder_ + "/b.png");
  EXPECT_THAT(std::string(lines[0]["response"]["caption"]), HasSubstr("bytes"));
  EXPECT_EQ(server_.num_calls(), 2);
}

TEST_F(RunTest, TogetherIsOneCall) {
  arguments_.positional = {folder_};
  arguments_.together = true;
  EXPECT_EQ(Run(), kAnswered);
  EXPECT_EQ(server_.num_calls(), 1);
}

TEST_F(RunTest, AFailedRequestIsAnErrorObject) {
  FailWith(
      RichError(grpc::StatusCode::INVALID_ARGUMENT, "IMAGE_CORRUPT", {{"field", "images[0]"}}));
  arguments_.json = true;
  EXPECT_EQ(Run(), kRequestFailed);
  ASSERT_EQ(Lines().size(), 1u);
  const json error = Lines()[0]["error"];
  EXPECT_EQ(error["code"], "INVALID_ARGUMENT");
  EXPECT_EQ(error["reason"], "IMAGE_CORRUPT");
  EXPECT_EQ(error["message"], "because of IMAGE_CORRUPT");
  EXPECT_EQ(error["metadata"]["field"], "images[0]");
  EXPECT_EQ(error["metadata"]["request_id"], "id-1");
}

TEST_F(RunTest, AFailedRequestIsALineForPeople) {
  FailWith(RichError(grpc::StatusCode::INVALID_ARGUMENT, "IMAGE_CORRUPT"));
  EXPECT_EQ(Run(), kRequestFailed);
  EXPECT_THAT(out_.str(), IsEmpty());
  EXPECT_EQ(err_.str(), folder_ +
                            "/a.png: INVALID_ARGUMENT IMAGE_CORRUPT: because of IMAGE_CORRUPT "
                            "(request id-1)\n");
}

TEST_F(RunTest, AMissingPictureFailsAloneAndTheOthersAreAnswered) {
  arguments_.positional = {folder_ + "/none.png", folder_ + "/a.png"};
  arguments_.json = true;
  EXPECT_EQ(Run(), kRequestFailed);
  int answered = 0, failed = 0;
  for (const json& line : Lines()) {
    answered += line.contains("response");
    failed += line.contains("error") && line["error"]["code"] == "NOT_FOUND";
  }
  EXPECT_EQ(answered, 1);
  EXPECT_EQ(failed, 1);
}

TEST_F(RunTest, WhatCannotBeAskedIsAUsageError) {
  arguments_.positional = {"-", "-"};
  EXPECT_EQ(Run(), kWrongUsage);
  arguments_.positional = {folder_ + "/a.png"};
  arguments_.command = "answer";
  EXPECT_EQ(Run(), kWrongUsage) << "no question";
  arguments_.command = "read";
  arguments_.positional = {folder_};
  arguments_.together = true;
  EXPECT_EQ(Run(), kWrongUsage) << "read takes one";
  EXPECT_EQ(server_.num_calls(), 0);
}

TEST_F(RunTest, AStreamIsPrintedAsItComesAndNotTwice) {
  server_.events = {Delta("a "), Delta("cat"), CaptionResult("a cat")};
  arguments_.stream = true;
  EXPECT_EQ(Run(), kAnswered);
  EXPECT_EQ(out_.str(), "a cat\n");
}

TEST_F(RunTest, StreamsOfSeveralPicturesDoNotInterleave) {
  server_.events = {Delta("a "), Delta("cat"), CaptionResult("a cat")};
  arguments_.stream = true;
  arguments_.positional = {folder_};
  EXPECT_EQ(Run(), kAnswered);
  EXPECT_EQ(out_.str(), folder_ + "/a.png:\na cat\n" + folder_ + "/b.png:\na cat\n");
}

TEST_F(RunTest, StreamedObjectsArePrintedOneByOne) {
  v1::StreamGenerateResponse found, result;
  *found.mutable_object()->mutable_object() = FoundObject("cat");
  *result.mutable_result()->mutable_detect()->add_objects() = FoundObject("cat");
  server_.events = {found, result};
  arguments_.command = "detect";
  arguments_.labels = {"cat"};
  arguments_.stream = true;
  EXPECT_EQ(Run(), kAnswered);
  EXPECT_EQ(out_.str(), "    1     2    30    40  0.50  cat\n");
  result.mutable_result()->mutable_detect()->clear_objects();
  server_.events = {result};
  EXPECT_EQ(Run(), kAnswered);
  EXPECT_EQ(out_.str(), "nothing found\n");
}

TEST_F(RunTest, StreamedJsonHasEventsAndThenTheResponse) {
  server_.events = {Delta("a "), CaptionResult("a cat")};
  arguments_.stream = arguments_.json = true;
  EXPECT_EQ(Run(), kAnswered);
  ASSERT_EQ(Lines().size(), 2u);
  EXPECT_EQ(Lines()[0]["event"]["delta"]["text"], "a ");
  EXPECT_EQ(Lines()[1]["response"]["caption"], "a cat");
}

TEST_F(RunTest, OverlaysAndMasksAreWritten) {
  server_.on_task = [](grpc::ServerContext*, const v1::TaskRequest&, v1::TaskResponse* answer) {
    v1::DetectedObject* const object = answer->mutable_segment()->add_objects();
    *object = FoundObject("cat");
    *object->mutable_mask()->mutable_region() = object->pixel_box();
    object->mutable_mask()->set_png(
        EncodePng({29, 38, std::vector<std::uint8_t>(size_t{29} * 38 * 3, 255)}));
    return grpc::Status::OK;
  };
  arguments_.command = "segment";
  arguments_.labels = {"cat"};
  arguments_.positional = {folder_};
  arguments_.overlay = folder_ + "/out.png";
  arguments_.masks = folder_ + "/masks/deep";
  EXPECT_EQ(Run(), kAnswered);
  for (const char* name :
       {"out-1.png", "out-2.png", "masks/deep/a-1-cat.png", "masks/deep/b-1-cat.png"}) {
    EXPECT_TRUE(std::filesystem::exists(folder_ + "/" + name)) << name;
  }
}

TEST_F(RunTest, ModelsAndHealthFailWithTheSameErrorObject) {
  arguments_.json = true;
  arguments_.client.server = "127.0.0.1:1";
  arguments_.client.max_attempts = 1;
  EXPECT_EQ(RunModels(arguments_, {&in_, &out_, &err_, false}), kRequestFailed);
  EXPECT_EQ(RunHealth(arguments_, {&in_, &out_, &err_, false}), kRequestFailed);
  ASSERT_EQ(Lines().size(), 2u);
  for (const json& line : Lines()) EXPECT_EQ(line["error"]["code"], "UNAVAILABLE");
}

TEST_F(RunTest, AnOverlayIntoAMissingFolderIsRefusedBeforeAnythingIsSent) {
  arguments_.overlay = folder_ + "/missing/out.png";
  EXPECT_EQ(Run(), kWrongUsage);
  EXPECT_THAT(err_.str(), HasSubstr("there is no folder " + folder_ + "/missing"));
  EXPECT_EQ(server_.num_calls(), 0);
}

}  // namespace
}  // namespace paligemma::client
