// SPDX-License-Identifier: Apache-2.0
#include "tests/core/model/golden_cases.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/model/device.h"
#include "core/vision/image_decoder.h"
#include "core/vision/resampler.h"

namespace paligemma {
namespace {

namespace fs = std::filesystem;

std::string ReadFile(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

PreparedImage Prepare(const fs::path& path, const Manifest& manifest) {
  ImageInput input;
  input.encoded = ReadFile(path);
  const auto decoded = DecodeImage(input, ImageLimits(), "image");
  PG_CHECK(decoded.ok()) << path << ": " << decoded.status().message();
  PreparedImage image;
  image.size = manifest.image.size;
  image.pixels = std::make_shared<const std::vector<std::uint8_t>>(ResizeToSquare(
      decoded->image, image.size, manifest.image.resampling, manifest.image.padding));
  const std::string name = path.filename().string();
  std::copy_n(name.begin(), std::min(name.size(), image.key.size()), image.key.begin());
  return image;
}

std::vector<GoldenCase> LoadCases(const fs::path& folder, const Manifest& manifest) {
  std::vector<GoldenCase> cases;
  for (const auto& json : nlohmann::json::parse(ReadFile(folder / "cases.json"))) {
    GoldenCase golden;
    golden.name = json.at("name");
    golden.image = Prepare(folder / json.at("image").get<std::string>(), manifest);
    golden.prompt_ids = json.at("prompt_ids").get<std::vector<TokenId>>();
    golden.max_tokens = json.at("max_tokens");
    golden.token_ids = json.at("token_ids").get<std::vector<TokenId>>();
    golden.stops = json.at("finish") == "stop";
    cases.push_back(std::move(golden));
  }
  return cases;
}

}  // namespace

std::vector<GoldenSet> LoadGoldenSets() {
  const char* root = std::getenv("PG_TEST_MODELS");
  const fs::path models = root != nullptr ? root : "models";
  std::vector<GoldenSet> sets;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(models, error)) {
    // A bundle with a goldens folder inside, or a folder of both.
    const fs::path goldens = entry.path() / "goldens";
    const bool both = fs::exists(entry.path() / "bundle");
    if (!fs::exists(goldens / "cases.json")) {
      continue;
    }
    GoldenSet set;
    set.name = entry.path().filename().string();
    set.bundle = both ? (entry.path() / "bundle").string() : entry.path().string();
    set.goldens = goldens.string();
    auto manifest = LoadManifest(set.bundle);
    PG_CHECK(manifest.ok()) << manifest.status().message();
    set.manifest = *std::move(manifest);
    set.cases = LoadCases(goldens, set.manifest);
    sets.push_back(std::move(set));
  }
  std::sort(sets.begin(), sets.end(),
            [](const GoldenSet& a, const GoldenSet& b) { return a.name < b.name; });
  return sets;
}

Device TestDevice() {
  const char* wanted = std::getenv("PG_TEST_DEVICE");
  const auto choice = PrepareDevice(wanted != nullptr ? wanted : "cpu");
  PG_CHECK(choice.ok()) << choice.status().message();
  return choice->device;
}

std::unique_ptr<Sequence> MakeSequence(const GoldenCase& golden, const Manifest& manifest) {
  auto sequence = std::make_unique<Sequence>();
  sequence->images = {golden.image};
  sequence->tokens_per_image = manifest.image.tokens;
  sequence->prompt = golden.prompt_ids;
  sequence->max_tokens = golden.max_tokens;
  sequence->eos = manifest.tokens.eos;
  return sequence;
}

Driver::Driver(ModelRunner* runner, int max_sequences)
    : runner_(runner), blocks_each_(runner->num_kv_blocks() / max_sequences) {}

Driver::Entry& Driver::Find(const Sequence* sequence) {
  for (Entry& entry : entries_) {
    if (entry.sequence == sequence) {
      return entry;
    }
  }
  Entry entry{sequence, false, {}};
  const int stride = runner_->num_kv_blocks() / blocks_each_;
  for (int i = 0; i < blocks_each_; ++i) {  // interleaved with the others', last one first
    entry.blocks.push_back((blocks_each_ - 1 - i) * stride + static_cast<int>(entries_.size()));
  }
  PG_CHECK(static_cast<int>(entries_.size()) < stride) << "more sequences than the driver holds";
  entries_.push_back(std::move(entry));
  return entries_.back();
}

BatchRow Driver::MakeRow(const Sequence* sequence) {
  Entry& entry = Find(sequence);
  BatchRow row;
  row.sequence = sequence;
  row.prefill = !entry.cached;
  row.output_index = static_cast<int>(sequence->output.size());
  row.num_cached = entry.cached ? 1 : row.output_index;
  row.first_cached = row.output_index - row.num_cached;
  row.block_table = entry.blocks;
  entry.cached = true;
  return row;
}

void Driver::Step(const std::vector<Sequence*>& sequences) {
  Batch batch;
  std::vector<Sequence*> order;
  for (const bool prefill : {true, false}) {
    for (Sequence* sequence : sequences) {
      if (Find(sequence).cached != prefill &&
          std::find(order.begin(), order.end(), sequence) == order.end()) {
        order.push_back(sequence);
      }
    }
  }
  for (Sequence* sequence : order) {
    batch.rows.push_back(MakeRow(sequence));
    batch.num_images += batch.rows.back().prefill ? static_cast<int>(sequence->images.size()) : 0;
  }
  const Status started = runner_->Start(batch);
  PG_CHECK(started.ok()) << started.ToString();
  const auto result = runner_->Finish();
  PG_CHECK(result.ok()) << result.status().ToString();
  last_outputs = result->outputs;
  for (const StepOutput& output : last_outputs) num_cached_images += output.num_cached_images;
  for (std::size_t i = 0; i < order.size(); ++i) {
    order[i]->output.push_back(result->outputs[i].token);
  }
}

void Driver::Run(std::vector<Sequence*> sequences) {
  while (!sequences.empty()) {
    Step(sequences);
    std::erase_if(sequences, [](const Sequence* sequence) {
      return sequence->output.back() == sequence->eos ||
             static_cast<int>(sequence->output.size()) >= sequence->max_tokens;
    });
  }
}

void Driver::Preempt(const Sequence* sequence) { Find(sequence).cached = false; }

std::vector<TokenId> Text(const Sequence& sequence) {
  std::vector<TokenId> tokens = sequence.output;
  if (!tokens.empty() && tokens.back() == sequence.eos) {
    tokens.pop_back();
  }
  return tokens;
}

}  // namespace paligemma
