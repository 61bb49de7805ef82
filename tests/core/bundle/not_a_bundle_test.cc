// SPDX-License-Identifier: Apache-2.0
#include "core/bundle/not_a_bundle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "core/bundle/manifest.h"

namespace paligemma {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr const char* kPointer =
    "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n";

class NotABundleTest : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(root_); }
  void TearDown() override { fs::remove_all(root_); }

  // Makes a file with its folders; returns its path.
  std::string Make(const std::string& name, const std::string& bytes = "x") const {
    const fs::path path = fs::path(root_) / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << bytes;
    return path.string();
  }
  // What the server says of --model=PATH.
  static std::string Told(const std::string& path) {
    const auto loaded = LoadManifest(path);
    return loaded.ok() ? "loaded" : loaded.status().message();
  }

  const std::string root_ = testing::TempDir() + "not_a_bundle." + std::to_string(::getpid());
};

TEST_F(NotABundleTest, WhatIsNotThereSaysHowItIsFetched) {
  EXPECT_THAT(Told("google/paligemma2-3b-mix-224"),
              AllOf(HasSubstr("hf download google/paligemma2-3b-mix-224"),
                    HasSubstr("paligemma_export import paligemma2-3b-mix-224")));
  EXPECT_THAT(Told("https://huggingface.co/google/x"), HasSubstr("web address"));
  EXPECT_THAT(Told(root_ + "/absent"), HasSubstr("/absent: no such folder"));
}

TEST_F(NotABundleTest, AFileIsNamedByItsBytes) {
  const std::pair<std::string, std::string> files[] = {
      {std::string("GGUF\3\0\0\0", 8), "is GGUF"},
      {"\x89HDF\r\n\x1A\n....", "HDF5 (Keras)"},
      {std::string("\x08\0\0\0\0\0\0\0{\"a\":1}", 15), "weights of a checkpoint (safetensors)"},
      {"\x1F\x8B\x08....", "is an archive"},
      {"\x80\x02}q.", "is a pickle"},
      {kPointer, "git lfs pull"},
      {"<!DOCTYPE html>", "web page"},
      {"", "empty file"},
      {"hello", "is a file; a bundle is a folder"},
  };
  for (const auto& [bytes, words] : files) {
    EXPECT_THAT(Told(Make("given", bytes)), HasSubstr(words)) << words;
  }
  EXPECT_THAT(Told(Make("a.npz", "PK\3\4")), HasSubstr("big_vision checkpoint: export it first"));
  EXPECT_THAT(Told(Make("decoder.pt", "PK\3\4")), HasSubstr("the folder with manifest.json"));
  EXPECT_THAT(Told(Make("a.zip", "PK\3\4")), HasSubstr("is an archive"));
  EXPECT_THAT(Told(Make("manifest.json", "{}")), HasSubstr("name the folder"));
}

TEST_F(NotABundleTest, AFolderIsNamedByWhatItHolds) {
  EXPECT_THAT(Told(root_), HasSubstr("is an empty folder"));
  Make("hf/config.json");
  EXPECT_THAT(Told(root_ + "/hf"), AllOf(HasSubstr("Hugging Face checkpoint, not a bundle"),
                                         HasSubstr("paligemma_export import " + root_ + "/hf")));
  Make("lora/adapter_config.json");
  EXPECT_THAT(Told(root_ + "/lora"), HasSubstr("PEFT adapter"));
  Make("models--google--x/snapshots/abc/config.json");
  EXPECT_THAT(Told(root_ + "/models--google--x"), HasSubstr("hub cache"));
  Make("big/pt_224.npz");
  EXPECT_THAT(Told(root_ + "/big"), HasSubstr("import " + root_ + "/big/pt_224.npz"));
  Make("gguf/model-Q4.gguf");
  EXPECT_THAT(Told(root_ + "/gguf"), HasSubstr("GGUF"));
  Make("other/readme.md");
  EXPECT_THAT(Told(root_ + "/other"), HasSubstr("manifest.json: no such file, so this is not"));
  Make("several/mix-224/manifest.json");
  EXPECT_THAT(Told(root_ + "/several"), HasSubstr("--model=" + root_ + "/several/mix-224"));
}

TEST_F(NotABundleTest, PointersOfGitLfsInsideABundleAreNamed) {
  Make("cloned/manifest.json", kPointer);
  EXPECT_THAT(Told(root_ + "/cloned"), HasSubstr("manifest.json: is a git-lfs pointer"));
  fs::remove(root_ + "/cloned/manifest.json");
  fs::copy("models/tiny-a", root_ + "/cloned", fs::copy_options::recursive);
  EXPECT_EQ(Told(root_ + "/cloned"), "loaded");
  Make("cloned/decoder.pt", kPointer);
  EXPECT_THAT(Told(root_ + "/cloned"),
              AllOf(HasSubstr("decoder.pt"), HasSubstr("run git lfs pull")));
}

TEST_F(NotABundleTest, ABundleWhoseFilesAreLinksLoads) {
  fs::create_directories(root_ + "/links");
  for (const auto& entry : fs::directory_iterator("models/tiny-a")) {
    fs::create_symlink(fs::absolute(entry.path()),
                       fs::path(root_) / "links" / entry.path().filename());
  }
  EXPECT_EQ(Told(root_ + "/links"), "loaded");
}

}  // namespace
}  // namespace paligemma
