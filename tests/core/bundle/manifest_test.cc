// SPDX-License-Identifier: Apache-2.0
#include "core/bundle/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace paligemma {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

json GoodFile() {
  return {{"size", 5}, {"sha256", std::string(64, 'a')}, {"chunks", {std::string(64, 'a')}}};
}

json Good() {
  return json::parse(R"({
    "format": 1, "name": "tiny-a", "display_name": "Tiny A", "revision": "r1",
    "architecture": {"hidden": 32, "layers": 2, "heads": 4, "kv_heads": 2, "head_dim": 16,
      "intermediate": 64, "vocab": 1664, "eps": 1e-6, "rope_theta": 10000, "query_scale": 0.25,
      "embed_scale": 5.65625, "attention_softcap": 50, "final_softcap": 0, "windows": [8, 0],
      "max_positions": 512,
      "vision": {"hidden": 24, "layers": 2, "heads": 2, "head_dim": 12, "intermediate": 40,
        "eps": 1e-6, "patch": 14}},
    "image": {"size": 42, "tokens": 9, "resampling": "bilinear", "padding": "pad_white", "max_count": 2},
    "window_mode": "hf",
    "tokens": {"pad": 0, "eos": 1, "bos": 2, "newline": 4, "loc_first": 512, "loc_count": 1024,
      "seg_first": 1536, "seg_count": 128, "vocab": 1664},
    "dtype": "float32", "quantization": "none",
    "methods": {
      "caption": {"prompts": {"short": "caption {lang}", "long": "describe {lang}"},
        "languages": ["en", "de"], "default_tokens": 64, "max_tokens": 256},
      "answer": {"prompt": "answer {lang} {question}", "languages": ["en"], "default_tokens": 32,
        "max_tokens": 128},
      "detect": {"prompt": "detect {labels}", "default_tokens": 64, "max_tokens": 256},
      "segment": {"prompt": "segment {labels}", "label_separator": ";", "default_tokens": 64,
        "max_tokens": 256},
      "read": {"prompt": "ocr", "default_tokens": 64, "max_tokens": 256},
      "generate": {"default_tokens": 64, "max_tokens": 256}},
    "limits": {"max_input_tokens": 256, "max_output_tokens": 256, "max_labels": 32},
    "files": {},
    "provenance": {"source": "random", "source_sha256": "", "exporter": "0.1.0", "license": "CC0-1.0"}
  })");
}

json Complete() {
  json manifest = Good();
  for (const char* name : {"decoder.pt", "vision.pt", "tokenizer.model", "mask_decoder.pt"}) {
    manifest["files"][name] = GoodFile();
  }
  return manifest;
}

std::string ErrorOf(const json& manifest) {
  return ParseManifest(manifest.dump()).status().message();
}

// The error after one value is changed.
std::string ErrorWith(const char* pointer, const json& value) {
  json manifest = Complete();
  manifest[json::json_pointer(pointer)] = value;
  return ErrorOf(manifest);
}

std::string ErrorWithout(const char* block, const char* name) {
  json manifest = Complete();
  manifest[json::json_pointer(block)].erase(name);
  return ErrorOf(manifest);
}

TEST(ManifestTest, ReadsEveryField) {
  const auto manifest = ParseManifest(Complete().dump());
  ASSERT_TRUE(manifest.ok()) << manifest.status().ToString();
  EXPECT_EQ(manifest->name, "tiny-a");
  EXPECT_THAT(manifest->architecture.windows, ElementsAre(8, 0));
  EXPECT_EQ(manifest->architecture.vision.patch, 14);
  EXPECT_EQ(manifest->architecture.query_scale, 0.25);
  EXPECT_EQ(manifest->image.resampling, Resampling::kBilinear);
  EXPECT_EQ(manifest->image.padding, Padding::kPadWhite);
  EXPECT_EQ(manifest->tokens.seg_first, 1536);
  EXPECT_EQ(manifest->tasks.at(Task::kCaption).long_prompt, "describe {lang}");
  EXPECT_EQ(manifest->tasks.at(Task::kDetect).label_separator, " ; ");
  EXPECT_EQ(manifest->tasks.at(Task::kSegment).label_separator, ";");
  EXPECT_EQ(manifest->files.at("vision.pt").size, 5);
  EXPECT_EQ(manifest->provenance.license, "CC0-1.0");
  EXPECT_TRUE(manifest->Supports(Task::kRead));
}

TEST(ManifestTest, ARecipeNamesAKnownEncodingForEachPartOrIsMissing) {
  EXPECT_FALSE(ParseManifest(Complete().dump())->recipe.has_value());
  json manifest = Complete();
  manifest["recipe"] = {
      {"embedding", "int8"}, {"attention", "int4"}, {"mlp", "fp8"}, {"vision", "bfloat16"}};
  const auto parsed = ParseManifest(manifest.dump());
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  EXPECT_EQ(parsed->recipe->embedding, "int8");
  EXPECT_EQ(parsed->recipe->mlp, "fp8");
  EXPECT_EQ(parsed->recipe->vision, "bfloat16");
  manifest["recipe"]["mlp"] = "int3";
  EXPECT_THAT(ErrorOf(manifest), HasSubstr("recipe.mlp: \"int3\" is unknown"));
  manifest["recipe"].erase("mlp");
  EXPECT_THAT(ErrorOf(manifest), HasSubstr("recipe.mlp: missing"));
}

TEST(ManifestTest, ANewerFormatNeedsANewerServerWhateverElseItHolds) {
  EXPECT_THAT(ErrorOf({{"format", 3}}), HasSubstr("needs a newer server"));
}

TEST(ManifestTest, EveryFormatUpToTheNewestIsReadAndKept) {
  for (int format = 1; format <= kBundleFormat; ++format) {
    json manifest = Complete();
    manifest["format"] = format;
    const auto parsed = ParseManifest(manifest.dump());
    ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
    EXPECT_EQ(parsed->format, format);
  }
}

TEST(ManifestTest, ClientSpecialsAreSpellingsInAngleBrackets) {
  json manifest = Complete();
  EXPECT_TRUE(ParseManifest(manifest.dump())->tokens.client_specials.empty());
  manifest["tokens"]["client_specials"] = {"<unused7>", "<start_of_turn>"};
  EXPECT_EQ(ParseManifest(manifest.dump())->tokens.client_specials.size(), 2u);
  for (const char* wrong : {"unused7", "<", "", "<>"}) {
    manifest["tokens"]["client_specials"] = {wrong};
    EXPECT_THAT(ErrorOf(manifest), HasSubstr("tokens.client_specials: holds"));
  }
}

TEST(ManifestTest, MoreEndsAndSuppressedTokensAreOfTheVocabulary) {
  json manifest = Complete();
  EXPECT_EQ(ParseManifest(manifest.dump())->tokens.output_rules, nullptr);
  manifest["tokens"]["more_eos"] = {107};
  auto parsed = ParseManifest(manifest.dump());
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  EXPECT_THAT(parsed->tokens.output_rules->more_ends, testing::ElementsAre(107));
  EXPECT_THAT(parsed->tokens.output_rules->suppressed, testing::IsEmpty());
  manifest["tokens"]["suppressed"] = {5, 6};
  EXPECT_THAT(ParseManifest(manifest.dump())->tokens.output_rules->suppressed,
              testing::ElementsAre(5, 6));
  manifest["tokens"]["suppressed"] = {1'000'000};
  EXPECT_THAT(ErrorOf(manifest), HasSubstr("tokens.suppressed: holds a token beyond"));
  manifest["tokens"]["suppressed"] = {-1};
  EXPECT_THAT(ErrorOf(manifest), HasSubstr("tokens.suppressed"));
}

TEST(ManifestTest, AnAnswerMayHave4096TokensAndNoMore) {
  json manifest = Complete();
  manifest["limits"]["max_output_tokens"] = 4096;
  manifest["methods"]["generate"]["max_tokens"] = 4096;
  const auto parsed = ParseManifest(manifest.dump());
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  EXPECT_EQ(parsed->tasks.at(Task::kGenerate).max_tokens, 4096);
  manifest["limits"]["max_output_tokens"] = 4097;
  EXPECT_THAT(ErrorOf(manifest), HasSubstr("limits.max_output_tokens: is 4097, not in [1, 4096]"));
}

TEST(ManifestTest, AMissingFieldIsNamedWithItsPath) {
  EXPECT_THAT(ErrorWithout("/architecture/vision", "patch"),
              HasSubstr("architecture.vision.patch: missing"));
  EXPECT_THAT(ErrorWithout("/methods/read", "prompt"), HasSubstr("methods.read.prompt: missing"));
  EXPECT_THAT(ErrorWithout("/files", "vision.pt"), HasSubstr("files.vision.pt: missing"));
  EXPECT_THAT(ErrorWithout("", "limits"), HasSubstr("limits: missing"));
}

TEST(ManifestTest, AWrongTypeIsNamed) {
  EXPECT_THAT(ErrorWith("/architecture/hidden", "32"),
              HasSubstr("architecture.hidden: is not an integer"));
  EXPECT_THAT(ErrorWith("/architecture/hidden", 32.5),
              HasSubstr("architecture.hidden: is not an integer"));
  EXPECT_THAT(ErrorWith("/architecture/eps", nullptr),
              HasSubstr("architecture.eps: is not a number"));
  EXPECT_THAT(ErrorWith("/name", 7), HasSubstr("name: is not a string"));
  EXPECT_THAT(ErrorWith("/methods/caption/languages", "en"),
              HasSubstr("methods.caption.languages"));
  EXPECT_THAT(ErrorWith("/image", json::array()), HasSubstr("image: is not an object"));
  EXPECT_THAT(ErrorWith("/architecture/layers", 18446744073709551615u),
              HasSubstr("architecture.layers"));
}

TEST(ManifestTest, ContradictionsAreRefused) {
  EXPECT_THAT(ErrorWith("/image/tokens", 16),
              HasSubstr("image.tokens: is 16, but size and patch make 9"));
  EXPECT_THAT(ErrorWith("/architecture/layers", 3),
              HasSubstr("architecture.windows: has 2 values for 3 layers"));
  EXPECT_THAT(ErrorWith("/architecture/kv_heads", 3), HasSubstr("architecture.heads"));
  EXPECT_THAT(ErrorWith("/tokens/vocab", 1600), HasSubstr("tokens.vocab"));
  EXPECT_THAT(ErrorWith("/tokens/seg_first", 1600), HasSubstr("tokens.seg_first"));
  EXPECT_THAT(ErrorWith("/methods/read/max_tokens", 300), HasSubstr("methods.read.max_tokens"));
  EXPECT_THAT(ErrorWith("/methods/read/default_tokens", 257),
              HasSubstr("methods.read.default_tokens"));
  EXPECT_THAT(ErrorWith("/methods/caption/languages", json::array()),
              HasSubstr("methods.caption.languages"));
  EXPECT_THAT(ErrorWith("/methods/answer/prompt", "answer {lang}"), HasSubstr("lacks {question}"));
  EXPECT_THAT(ErrorWith("/methods/read/prompt", "ocr {x}"), HasSubstr("unknown placeholder"));
  EXPECT_THAT(ErrorWith("/methods/paint", json::object()),
              HasSubstr("methods.paint: is an unknown method"));
  EXPECT_THAT(ErrorWith("/methods", json::object()), HasSubstr("names no method"));
  EXPECT_THAT(ErrorWith("/architecture/max_positions", 9), HasSubstr("architecture.max_positions"));
}

TEST(ManifestTest, SegmentNeedsItsMaskDecoder) {
  EXPECT_THAT(ErrorWithout("/files", "mask_decoder.pt"), HasSubstr("needs mask_decoder.pt"));
  json manifest = Complete();
  manifest["files"].erase("mask_decoder.pt");
  manifest["methods"].erase("segment");
  EXPECT_EQ(ErrorOf(manifest), "");
}

TEST(ManifestTest, PositionsAreCountedFromZeroUnlessItSaysFromOne) {
  EXPECT_EQ(ParseManifest(Complete().dump())->architecture.first_position, 0);
  json manifest = Complete();
  manifest["architecture"]["first_position"] = 1;
  EXPECT_EQ(ParseManifest(manifest.dump())->architecture.first_position, 1);
  EXPECT_THAT(ErrorWith("/architecture/first_position", 2),
              HasSubstr("architecture.first_position: is 2, not in [0, 1]"));
  EXPECT_THAT(ErrorWith("/architecture/first_position", true), HasSubstr("is not an integer"));
  manifest["architecture"]["max_positions"] = 10;  // the image's nine rows at 1 to 9, and no text
  EXPECT_THAT(ErrorOf(manifest), HasSubstr("architecture.max_positions: is too small"));
}

TEST(ManifestTest, UnknownWordsAreRefusedWithTheKnownOnes) {
  EXPECT_THAT(ErrorWith("/image/resampling", "lanczos"),
              AllOf(HasSubstr("lanczos"), HasSubstr("pillow_bicubic")));
  EXPECT_THAT(ErrorWith("/dtype", "float16"), HasSubstr("dtype"));
  EXPECT_THAT(ErrorWith("/window_mode", ""), HasSubstr("window_mode"));
  EXPECT_THAT(ErrorWith("/name", "Tiny A"), HasSubstr("lower-case label"));
}

TEST(ManifestTest, FileNamesCannotLeaveTheBundle) {
  for (const char* name : {"../x", "/etc/x", "a/b", ".hidden", "", "a\\b", "a b"}) {
    json manifest = Complete();
    manifest["files"][name] = GoodFile();
    EXPECT_THAT(ErrorOf(manifest), HasSubstr("is not a plain file name")) << name;
  }
}

TEST(ManifestTest, HashesAreOneForEachChunk) {
  EXPECT_THAT(ErrorWith("/files/vision.pt/sha256", "abc"), HasSubstr("files.vision.pt.sha256"));
  EXPECT_THAT(ErrorWith("/files/vision.pt/chunks", json::array()),
              HasSubstr("files.vision.pt.chunks"));
  EXPECT_THAT(ErrorWith("/files/vision.pt/size", (16 << 20) + 1), HasSubstr("but size makes 2"));
}

TEST(ManifestTest, ErrorsAreOneLine) {
  EXPECT_THAT(ErrorWith("/dtype", 1), Not(HasSubstr("\n")));
  EXPECT_THAT(ParseManifest("{").status().message(), HasSubstr("not valid JSON"));
  EXPECT_THAT(ParseManifest("[]").status().message(), HasSubstr("not a JSON object"));
  EXPECT_THAT(ParseManifest(std::string(100000, '[')).status().message(), HasSubstr("not valid"));
}

TEST(ManifestTest, LoadingChecksThatFilesAreThereWithTheirSizes) {
  const auto directory = std::filesystem::path(testing::TempDir()) / "manifest_test";
  std::filesystem::create_directories(directory);
  EXPECT_EQ(LoadManifest(directory / "none").status().code(), StatusCode::kNotFound);
  std::ofstream(directory / "manifest.json") << Complete().dump();
  for (const char* name : {"decoder.pt", "vision.pt", "tokenizer.model"}) {
    std::ofstream(directory / name) << "12345";
  }
  EXPECT_THAT(LoadManifest(directory).status().message(), HasSubstr("mask_decoder.pt: missing"));
  std::ofstream(directory / "mask_decoder.pt") << "1234";
  EXPECT_THAT(LoadManifest(directory).status().message(), HasSubstr("has 4 bytes"));
  std::ofstream(directory / "mask_decoder.pt") << "12345";
  EXPECT_TRUE(LoadManifest(directory).ok());
  std::filesystem::remove_all(directory);
}

// Format 1 is read for ever.
TEST(ManifestTest, TheCommittedBundleLoadsAndItsHashesHold) {
  const std::string directory = "models/tiny-a";
  const auto manifest = LoadManifest(directory);
  ASSERT_TRUE(manifest.ok()) << manifest.status().ToString();
  for (const auto& [name, spec] : manifest->files) {
    const Status status = VerifyFile(directory + "/" + name, spec, 2);
    EXPECT_TRUE(status.ok()) << status.ToString();
  }
}

}  // namespace
}  // namespace paligemma
