// SPDX-License-Identifier: Apache-2.0
#include "core/model/bundle_loader.h"

#include <ATen/core/Tensor.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "core/base/clock.h"
#include "core/model/mapped_module.h"
#include "core/model/ops/library.h"
#include "core/model/torch_errors.h"
#include "core/model/weight_packer.h"

namespace paligemma {
namespace {

constexpr int kOperatorSet = 1;

Status Refused(std::string message) {
  return Status(StatusCode::kFailedPrecondition, std::move(message));
}

// The same code with the file's path before the message.
Status InFile(const std::string& path, const Status& status) {
  const std::string& message = status.message();
  return Status(status.code(), status.reason(),
                message.starts_with(path) ? message : path + ": " + message);
}

Status CheckTag(const std::string& text) {
  const nlohmann::json tag = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!tag.is_object() || !tag.contains("operators") || !tag["operators"].is_number_integer() ||
      !tag.contains("schemas") || !tag["schemas"].is_array()) {
    return Refused("extra/paligemma.json is not what an exporter writes");
  }
  if (tag["operators"].get<int>() > kOperatorSet) {
    return Refused("operator set " + std::to_string(tag["operators"].get<int>()) +
                   ", this server knows sets up to " + std::to_string(kOperatorSet));
  }
  std::vector<std::string> schemas;
  for (const auto& schema : tag["schemas"]) {
    if (!schema.is_string()) {
      return Refused("extra/paligemma.json is not what an exporter writes");
    }
    schemas.push_back(schema.get<std::string>());
  }
  return ops::CheckSchemas(schemas);
}

// Compares a module's Final attributes with the manifest; collects nothing, stops at the first.
class AttributeChecker {
 public:
  explicit AttributeChecker(const torch::jit::Module& module, std::string where = "")
      : module_(module), where_(std::move(where)) {}

  void Int(const char* name, std::int64_t expected) {
    Compare(name, static_cast<double>(expected), 0);
  }
  void Real(const char* name, double expected) {
    Compare(name, expected, 1e-6 * std::abs(expected));
  }
  Status status() const { return status_; }

 private:
  void Compare(const char* name, double expected, double tolerance) {
    if (!status_.ok()) {
      return;
    }
    if (!module_.hasattr(name)) {
      status_ = Refused(where_ + "has no attribute '" + name + "'");
      return;
    }
    const c10::IValue value = module_.attr(name);
    const bool number = value.isInt() || value.isDouble();
    const double actual = value.isInt()      ? static_cast<double>(value.toInt())
                          : value.isDouble() ? value.toDouble()
                                             : 0;
    if (!number || !(std::abs(actual - expected) <= tolerance)) {
      status_ = Refused(where_ + name + " is " + nlohmann::json(actual).dump() +
                        ", the manifest says " + nlohmann::json(expected).dump());
    }
  }

  torch::jit::Module module_;
  const std::string where_;
  Status status_;
};

// The elements of the ModuleList `layers`.
StatusOr<std::vector<torch::jit::Module>> Layers(const torch::jit::Module& module, int expected) {
  std::vector<torch::jit::Module> layers;
  if (module.hasattr("layers")) {
    for (const torch::jit::Module& layer : module.attr("layers").toModule().children()) {
      layers.push_back(layer);
    }
  }
  if (static_cast<int>(layers.size()) != expected) {
    return Refused(std::to_string(layers.size()) + " layers, the manifest says " +
                   std::to_string(expected));
  }
  return layers;
}

std::string NameOfLayer(std::size_t i) { return "layer " + std::to_string(i) + ": "; }

// Collects a module's matrices. `encoding` is what the manifest's recipe says; null: the bundle has
// no recipe, and the type of the values tells.
class MatrixCollector {
 public:
  // `where` begins the texts of errors.
  Status Add(const torch::jit::Module& owner, const std::string& where,
             std::initializer_list<const char*> names, const std::string* encoding) {
    for (const char* name : names) {
      if (!owner.hasattr(name) || !owner.attr(name).isModule() ||
          !owner.attr(name).toModule().hasattr("data")) {
        return Refused(where + "has no matrix '" + name + "'");
      }
      const torch::jit::Module matrix = owner.attr(name).toModule();
      const at::Tensor data = matrix.attr("data").toTensor();
      const auto stored = ops::EncodingStoredAs(data.scalar_type());
      const auto wanted = encoding == nullptr ? stored : ops::EncodingNamed(*encoding);
      if (!stored.has_value() || stored != wanted) {
        return Refused(where + name + " is " + c10::toString(data.scalar_type()) +
                       (encoding == nullptr ? ", which encodes no matrix"
                                            : ", the manifest's recipe says " + *encoding));
      }
      if (data.dim() != 2) {
        return Refused(where + name + " is not a matrix of two dimensions");
      }
      matrices_.push_back({matrix, *wanted});
    }
    return OkStatus();
  }

  std::vector<NamedMatrix> Take() { return std::move(matrices_); }

 private:
  std::vector<NamedMatrix> matrices_;
};

StatusOr<std::vector<NamedMatrix>> DecoderMatrices(const torch::jit::Module& module,
                                                   const std::optional<Recipe>& recipe,
                                                   const std::vector<torch::jit::Module>& layers) {
  MatrixCollector found;
  const auto part = [&](std::string Recipe::*encoding) {
    return recipe.has_value() ? &(*recipe.*encoding) : nullptr;
  };
  PG_RETURN_IF_ERROR(found.Add(module, "", {"embedding"}, part(&Recipe::embedding)));
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const std::string where = NameOfLayer(i);
    PG_RETURN_IF_ERROR(found.Add(layers[i], where, {"qkv", "out"}, part(&Recipe::attention)));
    PG_RETURN_IF_ERROR(found.Add(layers[i], where, {"gate_up", "down"}, part(&Recipe::mlp)));
  }
  return found.Take();
}

StatusOr<std::vector<NamedMatrix>> VisionMatrices(const torch::jit::Module& module,
                                                  const std::optional<Recipe>& recipe,
                                                  const std::vector<torch::jit::Module>& layers) {
  MatrixCollector found;
  const std::string* encoding = recipe.has_value() ? &recipe->vision : nullptr;
  PG_RETURN_IF_ERROR(found.Add(module, "", {"patches", "projector"}, encoding));
  for (std::size_t i = 0; i < layers.size(); ++i) {
    PG_RETURN_IF_ERROR(
        found.Add(layers[i], NameOfLayer(i), {"qkv", "out", "fc1", "fc2"}, encoding));
  }
  return found.Take();
}

Status CheckShape(const torch::jit::Module& module, const std::string& matrix, std::int64_t rows) {
  if (!module.hasattr(matrix) || !module.attr(matrix).isModule() ||
      !module.attr(matrix).toModule().hasattr("data")) {
    return Refused("has no matrix '" + matrix + "'");
  }
  const at::Tensor data = module.attr(matrix).toModule().attr("data").toTensor();
  return data.dim() == 2 && data.size(0) == rows
             ? OkStatus()
             : Refused(matrix + " has another shape than the manifest's numbers ask for");
}

StatusOr<std::vector<NamedMatrix>> CheckDecoder(const torch::jit::Module& module,
                                                const Manifest& manifest) {
  const Architecture& model = manifest.architecture;
  AttributeChecker root(module);
  root.Int("hidden", model.hidden);
  root.Int("num_layers", model.layers);
  root.Int("heads", model.heads);
  root.Int("kv_heads", model.kv_heads);
  root.Int("head_dim", model.head_dim);
  root.Int("vocab", model.vocab);
  root.Real("theta", model.rope_theta);
  root.Real("eps", model.eps);
  root.Real("embed_scale", model.embed_scale);
  root.Real("final_softcap", model.final_softcap);
  if (module.hasattr("first_position") || model.first_position != 0) {
    root.Int("first_position", model.first_position);
  }
  PG_RETURN_IF_ERROR(root.status());
  PG_RETURN_IF_ERROR(CheckShape(module, "embedding", model.vocab));
  PG_ASSIGN_OR_RETURN(const auto layers, Layers(module, model.layers));
  for (int i = 0; i < model.layers; ++i) {
    AttributeChecker layer(layers[i], NameOfLayer(i));
    layer.Int("layer", i);
    layer.Int("heads", model.heads);
    layer.Int("kv_heads", model.kv_heads);
    layer.Int("head_dim", model.head_dim);
    layer.Int("intermediate", model.intermediate);
    layer.Real("eps", model.eps);
    layer.Real("scale", model.query_scale);
    layer.Real("softcap", model.attention_softcap);
    layer.Int("window", i < static_cast<int>(model.windows.size()) ? model.windows[i] : 0);
    PG_RETURN_IF_ERROR(layer.status());
  }
  return DecoderMatrices(module, manifest.recipe, layers);
}

StatusOr<std::vector<NamedMatrix>> CheckVision(const torch::jit::Module& module,
                                               const Manifest& manifest) {
  const VisionArchitecture& vision = manifest.architecture.vision;
  AttributeChecker root(module);
  root.Int("patch", vision.patch);
  root.Int("tokens", manifest.image.tokens);
  root.Int("hidden", manifest.architecture.hidden);
  root.Real("eps", vision.eps);
  PG_RETURN_IF_ERROR(root.status());
  PG_ASSIGN_OR_RETURN(const auto layers, Layers(module, vision.layers));
  for (int i = 0; i < vision.layers; ++i) {
    AttributeChecker layer(layers[i], NameOfLayer(i));
    layer.Int("tokens", manifest.image.tokens);
    layer.Int("heads", vision.heads);
    layer.Int("head_dim", vision.head_dim);
    layer.Int("intermediate", vision.intermediate);
    layer.Real("eps", vision.eps);
    PG_RETURN_IF_ERROR(layer.status());
  }
  return VisionMatrices(module, manifest.recipe, layers);
}

double SecondsSince(TimePoint start) {
  return std::chrono::duration<double>(Clock::Real()->Now() - start).count();
}

}  // namespace

BundleLoader::BundleLoader(std::string directory, const Manifest& manifest, Device device,
                           int num_threads)
    : directory_(std::move(directory)),
      manifest_(manifest),
      device_(device),
      num_threads_(num_threads) {}

StatusOr<LoadedModule> BundleLoader::LoadVision() const {
  return Load("vision.pt", [this](const auto& module) { return CheckVision(module, manifest_); });
}

StatusOr<LoadedModule> BundleLoader::LoadDecoder() const {
  return Load("decoder.pt", [this](const auto& module) { return CheckDecoder(module, manifest_); });
}

StatusOr<LoadedModule> BundleLoader::LoadMaskDecoder() const {
  return Load("mask_decoder.pt", [](const auto&) { return std::vector<NamedMatrix>(); });
}

StatusOr<LoadedModule> BundleLoader::Load(const std::string& name, const Check& check) const {
  const TimePoint start = Clock::Real()->Now();
  const std::string path = directory_ + "/" + name;
  const auto spec = manifest_.files.find(name);
  if (spec == manifest_.files.end()) {
    return Status(StatusCode::kNotFound, path + ": the manifest lists no such file");
  }
  PG_ASSIGN_OR_RETURN(const auto file, FileMapping::Open(path, spec->second.size));
  // Before torch sees a byte: it checks none itself.
  PG_RETURN_IF_ERROR(VerifyFile(path, spec->second, num_threads_));
  torch::jit::getProfilingMode() = false;
  const c10::InferenceMode inference;
  LoadedModule loaded;
  const Status status = CatchTorchErrors("cannot be loaded", [&]() -> Status {
    PG_RETURN_IF_ERROR(CheckTag(ReadExtra(file)));
    loaded.module = LoadMapped(file);
    loaded.module.eval();
    PG_ASSIGN_OR_RETURN(const auto matrices, check(loaded.module));
    ForEachTensor(loaded.module, [&](const auto&, const auto&, const at::Tensor& tensor) {
      loaded.parameters += tensor.numel();
    });
    DescribeMatrices(matrices);
    if (device_.is_cpu()) {
      PackWeights(*file, cpu::CurrentContext(), matrices);
    }
    const c10::Device device(device_.ToString());
    AdoptTensors(*file, loaded.module, [&](const std::string& attribute, const at::Tensor& tensor) {
      // Descriptions are read by the CPU, wherever the values lie.
      const bool on_cpu = device.is_cpu() || attribute == "aux";
      return on_cpu && !file->Contains(tensor.const_data_ptr())
                 ? tensor
                 : tensor.to(device, tensor.scalar_type(), /*non_blocking=*/false, /*copy=*/true);
    });
    ForEachTensor(loaded.module, [&](const auto&, const auto&, const at::Tensor& tensor) {
      loaded.bytes += static_cast<std::int64_t>(tensor.nbytes());
    });
    return OkStatus();
  });
  if (!status.ok()) {
    return InFile(path, status);
  }
  loaded.seconds = SecondsSince(start);
  return loaded;
}

}  // namespace paligemma
