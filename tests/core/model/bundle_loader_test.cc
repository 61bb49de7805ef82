// SPDX-License-Identifier: Apache-2.0
// A bundle that is damaged or does not fit is refused with one line that names the file.
#include "core/model/bundle_loader.h"

#include <c10/core/InferenceMode.h>
#include <caffe2/serialize/inline_container.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "core/model/mapped_module.h"

namespace paligemma {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kBundle = "models/tiny-a";

class BundleLoaderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(std::string(kBundle) + "/manifest.json")) {
      GTEST_SKIP() << "no " << kBundle;
    }
    auto manifest = LoadManifest(kBundle);
    ASSERT_TRUE(manifest.ok()) << manifest.status().ToString();
    manifest_ = *std::move(manifest);
    directory_ = fs::path(::testing::TempDir()) / ("bundle-" + std::to_string(::getpid()));
    fs::create_directories(directory_);
    for (const char* name : {"decoder.pt", "vision.pt", "mask_decoder.pt"}) {
      fs::copy_file(fs::path(kBundle) / name, directory_ / name,
                    fs::copy_options::overwrite_existing);
    }
  }
  void TearDown() override { fs::remove_all(directory_); }

  StatusOr<LoadedModule> LoadDecoder() const {
    return BundleLoader(directory_.string(), manifest_, Device::Cpu(), 2).LoadDecoder();
  }
  // One line that begins with the file's path.
  void ExpectRefused(const Status& status, const std::string& part) const {
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(status.message(),
                AllOf(StartsWith((directory_ / "decoder.pt").string()), HasSubstr(part)));
    EXPECT_EQ(status.message().find('\n'), std::string::npos);
  }

  Manifest manifest_;
  fs::path directory_;
};

TEST_F(BundleLoaderTest, LoadsAndKeepsNothingOfTheFile) {
  auto loaded = LoadDecoder();
  ASSERT_TRUE(loaded.ok()) << loaded.status().ToString();
  EXPECT_GT(loaded->parameters, manifest_.architecture.vocab * manifest_.architecture.hidden);
  EXPECT_GE(loaded->bytes, loaded->parameters);
  // Were a weight still mapped, reading it now would kill the process.
  fs::resize_file(directory_ / "decoder.pt", 0);
  double sum = 0;
  for (const auto& buffer : loaded->module.named_buffers()) {
    sum += buffer.value.to(at::kFloat).abs().sum().item<double>();
  }
  EXPECT_GT(sum, 0);
}

TEST_F(BundleLoaderTest, BindsTheSameWeightsAsTorchReads) {
  const std::string path = std::string(kBundle) + "/decoder.pt";
  const auto file = FileMapping::Open(path, static_cast<std::int64_t>(fs::file_size(path)));
  ASSERT_TRUE(file.ok());
  const c10::InferenceMode inference;
  const torch::jit::Module lazy = LoadMapped(*file);
  caffe2::serialize::PyTorchStreamReader reader(path);
  std::size_t mapped = 0;
  for (const auto& buffer : lazy.named_buffers()) {
    mapped += buffer.value.numel() > 0 && (*file)->Contains(buffer.value.const_data_ptr()) ? 1 : 0;
  }
  EXPECT_GT(mapped, 10u);
  // The table, byte for byte, is one of the file's records.
  const at::Tensor table = lazy.attr("embedding").toModule().attr("data").toTensor();
  bool found = false;
  for (const std::string& record : reader.getAllRecords()) {
    if (reader.getRecordSize(record) == table.nbytes()) {
      const auto [data, size] = reader.getRecord(record);
      found |= std::memcmp(data.get(), table.const_data_ptr(), size) == 0;
    }
  }
  EXPECT_TRUE(found);
}

TEST_F(BundleLoaderTest, RefusesATruncatedFile) {
  fs::resize_file(directory_ / "decoder.pt", fs::file_size(directory_ / "decoder.pt") / 2);
  ExpectRefused(LoadDecoder().status(), "the manifest says");
}

TEST_F(BundleLoaderTest, RefusesAWrongByte) {
  std::fstream file(directory_ / "decoder.pt", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(300000);
  file.put('!');
  file.put('?');
  file.close();
  ExpectRefused(LoadDecoder().status(), "");
}

TEST_F(BundleLoaderTest, RefusesAMissingFile) {
  fs::remove(directory_ / "decoder.pt");
  ExpectRefused(LoadDecoder().status(), "No such file");
  manifest_.files.erase("decoder.pt");
  ExpectRefused(LoadDecoder().status(), "the manifest lists no such file");
}

TEST_F(BundleLoaderTest, RefusesNumbersThatContradictTheManifest) {
  const Manifest good = manifest_;
  manifest_.architecture.first_position = 1;
  ExpectRefused(LoadDecoder().status(), "first_position");
  manifest_.architecture.first_position = 0;
  manifest_.architecture.attention_softcap = 30;
  ExpectRefused(LoadDecoder().status(), "softcap is 50.0, the manifest says 30.0");
  manifest_ = good;
  manifest_.architecture.layers = 5;
  ExpectRefused(LoadDecoder().status(), "num_layers");
  manifest_ = good;
  manifest_.architecture.windows[1] = 77;
  ExpectRefused(LoadDecoder().status(), "layer 1: window");
  manifest_ = good;
  manifest_.architecture.vision.heads = 9;
  const auto vision = BundleLoader(directory_.string(), manifest_, Device::Cpu(), 2).LoadVision();
  EXPECT_THAT(vision.status().message(), HasSubstr("vision.pt: layer 0: heads"));
}

TEST_F(BundleLoaderTest, RefusesWeightsInAnotherEncodingThanTheRecipes) {
  manifest_.recipe.reset();  // as bundles of the first exporters
  EXPECT_TRUE(LoadDecoder().ok());
  const Recipe good{"float32", "float32", "float32", "float32"};
  manifest_.recipe = good;
  EXPECT_TRUE(LoadDecoder().ok());
  manifest_.recipe->embedding = "int8";
  ExpectRefused(LoadDecoder().status(), "embedding is Float, the manifest's recipe says int8");
  manifest_.recipe = good;
  manifest_.recipe->mlp = "int4";
  ExpectRefused(LoadDecoder().status(), "layer 0: gate_up is Float");
  manifest_.recipe = good;
  manifest_.recipe->vision = "bfloat16";
  EXPECT_TRUE(LoadDecoder().ok());
  const auto vision = BundleLoader(directory_.string(), manifest_, Device::Cpu(), 2).LoadVision();
  EXPECT_THAT(vision.status().message(), HasSubstr("vision.pt: patches is Float"));
}

// Damage that hashes do not show, since they were made of it: the parser itself must hold.
TEST_F(BundleLoaderTest, AMappingOfRubbishThrowsAndDoesNotCrash) {
  const c10::InferenceMode inference;
  for (const std::size_t size : {1u, 100u, 70000u, 500000u}) {
    fs::resize_file(directory_ / "vision.pt", size);
    const auto file =
        FileMapping::Open((directory_ / "vision.pt").string(), static_cast<std::int64_t>(size));
    ASSERT_TRUE(file.ok());
    EXPECT_ANY_THROW(ReadExtra(*file));
    EXPECT_ANY_THROW(LoadMapped(*file));
  }
}

TEST_F(BundleLoaderTest, AModuleOfAnotherKindIsRefused) {
  fs::copy_file(directory_ / "vision.pt", directory_ / "decoder.pt",
                fs::copy_options::overwrite_existing);
  manifest_.files["decoder.pt"] = manifest_.files["vision.pt"];
  ExpectRefused(LoadDecoder().status(), "");
}

}  // namespace
}  // namespace paligemma
