// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "core/bundle/manifest.h"
#include "tests/core/base/sha256.h"

namespace paligemma {
namespace {

using ::testing::HasSubstr;

constexpr std::size_t kChunk = std::size_t{16} << 20;

class VerifyFileTest : public testing::Test {
 protected:
  void SetUp() override {
    for (std::size_t i = 0; i < bytes_.size(); ++i) bytes_[i] = static_cast<char>(i * 31 + i / 999);
    Write();
    spec_.size = static_cast<std::int64_t>(bytes_.size());
    for (std::size_t at = 0; at < bytes_.size(); at += kChunk) {
      spec_.chunks.push_back(Sha256(bytes_.data() + at, std::min(kChunk, bytes_.size() - at)));
    }
  }
  void TearDown() override { std::filesystem::remove(path_); }
  void Write() { std::ofstream(path_, std::ios::binary) << bytes_; }

  const std::string path_ = testing::TempDir() + "verify_file_test." + std::to_string(::getpid());
  std::string bytes_ = std::string(2 * kChunk + 5, 0);
  FileSpec spec_;
};

TEST_F(VerifyFileTest, AcceptsTheFileOnAnyNumberOfThreads) {
  for (int threads : {1, 2, 8}) EXPECT_TRUE(VerifyFile(path_, spec_, threads).ok());
}

TEST_F(VerifyFileTest, NamesTheFirstWrongChunk) {
  bytes_[kChunk + 3] ^= 1;
  bytes_[2 * kChunk + 3] ^= 1;
  Write();
  for (int threads : {1, 3}) {
    EXPECT_THAT(VerifyFile(path_, spec_, threads).message(), HasSubstr("chunk 1 "));
  }
}

TEST_F(VerifyFileTest, RefusesAnotherSizeAndAMissingFile) {
  spec_.size -= 1;
  EXPECT_THAT(VerifyFile(path_, spec_, 1).message(), HasSubstr("the manifest says"));
  EXPECT_EQ(VerifyFile(path_ + ".none", spec_, 1).code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace paligemma
