// SPDX-License-Identifier: Apache-2.0
// Every layer's residual stream, the vision features and the logits against the reference's, so
// that a mismatch names its layer: max |a - b| <= 1e-4 max |b|.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <gmock/gmock.h>

#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/model/bundle_loader.h"
#include "core/model/step_inputs.h"
#include "tests/core/model/golden_cases.h"

namespace paligemma {
namespace {

// The float32 tensors of a safetensors file; empty without the file.
std::map<std::string, at::Tensor> ReadSafetensors(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  const std::string text = bytes.str();
  std::map<std::string, at::Tensor> tensors;
  if (text.size() < 8) {
    return tensors;
  }
  std::uint64_t header = 0;
  std::memcpy(&header, text.data(), sizeof(header));
  const auto table = nlohmann::json::parse(text.substr(8, header));
  for (const auto& [name, entry] : table.items()) {
    if (name == "__metadata__" || entry.at("dtype") != "F32") {
      continue;
    }
    const auto shape = entry.at("shape").get<std::vector<std::int64_t>>();
    const std::size_t begin = entry.at("data_offsets").at(0);
    at::Tensor tensor = at::empty(shape, at::kFloat);
    std::memcpy(tensor.mutable_data_ptr<float>(), text.data() + 8 + header + begin,
                tensor.nbytes());
    tensors[name] = tensor;
  }
  return tensors;
}

at::Tensor Ints(const std::vector<std::int32_t>& values) { return at::tensor(values, at::kInt); }

// What the modules say of one case, by the names of activations.safetensors.
std::map<std::string, at::Tensor> Trace(torch::jit::Module vision, torch::jit::Module decoder,
                                        const GoldenCase& golden, const Manifest& manifest) {
  const Architecture& model = manifest.architecture;
  std::map<std::string, at::Tensor> found;
  const std::int64_t side = manifest.image.size;
  at::Tensor pixels = at::empty({1, side, side, 3}, at::kByte);
  std::memcpy(pixels.mutable_data_ptr<std::uint8_t>(), golden.image.pixels->data(),
              golden.image.pixels->size());
  found["vision"] = vision.forward({pixels}).toTensor();

  const auto sequence = MakeSequence(golden, manifest);
  Batch batch;
  batch.rows.push_back({.sequence = sequence.get(), .prefill = true, .block_table = {0}});
  const int block = model.max_positions;
  const StepInputs inputs = BuildStepInputs(batch, {{0}}, {}, block);
  const at::Tensor kv = at::zeros({model.layers, 2, 1, model.kv_heads, block, model.head_dim});
  const auto arguments = [&](const at::Tensor& rows) {
    return std::vector<c10::IValue>{Ints(inputs.ids),
                                    Ints(inputs.positions),
                                    Ints(inputs.slots),
                                    found["vision"],
                                    kv,
                                    at::zeros({0}),
                                    Ints(inputs.prefill_start),
                                    c10::List<std::int64_t>(inputs.prefill_lengths),
                                    at::zeros({0, 0}, at::kInt),
                                    at::zeros({0}, at::kInt),
                                    rows,
                                    c10::List<at::Tensor>(),
                                    at::zeros({0}, at::kInt)};
  };
  const auto states =
      decoder.get_method("trace")(arguments(at::zeros({0}, at::kInt))).toTensorVector();
  for (std::size_t i = 0; i < states.size(); ++i) {
    found["state." + std::to_string(i)] = states[i];
  }
  found["final_norm"] = decoder.get_method("forward")(arguments(Ints(inputs.rows))).toTensor();
  found["logits"] = decoder.get_method("logits")({found["final_norm"]}).toTensor();
  return found;
}

TEST(TraceTest, EveryLayerMatchesTheReference) {
  const c10::InferenceMode inference;
  int compared = 0;
  for (const GoldenSet& set : LoadGoldenSets()) {
    const auto expected = ReadSafetensors(set.goldens + "/activations.safetensors");
    const BundleLoader loader(set.bundle, set.manifest, Device::Cpu(), 2);
    auto vision = loader.LoadVision();
    auto decoder = loader.LoadDecoder();
    ASSERT_TRUE(vision.ok() && decoder.ok());
    for (const GoldenCase& golden : set.cases) {
      if (!expected.contains(golden.name + "/logits")) {
        continue;
      }
      for (const auto& [name, actual] :
           Trace(vision->module, decoder->module, golden, set.manifest)) {
        const at::Tensor& wanted = expected.at(golden.name + "/" + name);
        ASSERT_EQ(actual.sizes(), wanted.sizes()) << set.name << " " << golden.name << " " << name;
        const double difference = (actual - wanted).abs().max().item<double>();
        EXPECT_LE(difference, 1e-4 * wanted.abs().max().item<double>())
            << set.name << " " << golden.name << " " << name;
        ++compared;
      }
    }
  }
  if (compared == 0) {
    GTEST_SKIP() << "no activations.safetensors below $PG_TEST_MODELS or models";
  }
  std::cout << compared << " tensors compared\n";
}

}  // namespace
}  // namespace paligemma
