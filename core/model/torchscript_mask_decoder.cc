// SPDX-License-Identifier: Apache-2.0
#include "core/model/torchscript_mask_decoder.h"

#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <utility>

#include "core/model/bundle_loader.h"
#include "core/model/torch_errors.h"

namespace paligemma {

struct TorchScriptMaskDecoder::Impl {
  torch::jit::Module module;
};

TorchScriptMaskDecoder::TorchScriptMaskDecoder(std::unique_ptr<Impl> impl)
    : impl_(std::move(impl)) {}
TorchScriptMaskDecoder::~TorchScriptMaskDecoder() = default;

StatusOr<std::unique_ptr<TorchScriptMaskDecoder>> TorchScriptMaskDecoder::Load(
    const std::string& bundle_dir, const Manifest& manifest, int num_threads) {
  const BundleLoader loader(bundle_dir, manifest, Device::Cpu(), num_threads);
  PG_ASSIGN_OR_RETURN(LoadedModule loaded, loader.LoadMaskDecoder());
  std::unique_ptr<TorchScriptMaskDecoder> decoder(
      new TorchScriptMaskDecoder(std::make_unique<Impl>(Impl{std::move(loaded.module)})));
  // A file of another shape shows now rather than in the first request.
  PG_RETURN_IF_ERROR(decoder->Decode(std::vector<int>(kNumCodes, 0)).status());
  return decoder;
}

StatusOr<std::vector<float>> TorchScriptMaskDecoder::Decode(const std::vector<int>& codes) {
  constexpr std::int64_t kPixels = std::int64_t{kSide} * kSide;
  const std::size_t num_masks = codes.size() / kNumCodes;
  if (codes.size() != num_masks * kNumCodes) {
    return InternalError("mask decoder: codes come in groups of 16");
  }
  std::vector<float> pixels;
  pixels.reserve(num_masks * kPixels);
  const c10::InferenceMode inference;
  PG_RETURN_IF_ERROR(CatchTorchErrors("mask decoder", [&]() -> Status {
    for (std::size_t i = 0; i < num_masks; ++i) {
      at::Tensor one = at::empty({1, kNumCodes}, at::kInt);
      std::copy_n(codes.begin() + i * kNumCodes, kNumCodes, one.mutable_data_ptr<int>());
      // The module is shared by threads and never changed; forward() is not const in torch.
      const at::Tensor mask =
          impl_->module.get_method("forward")({one}).toTensor().to(at::kFloat).contiguous();
      if (mask.numel() != kPixels) {
        return InternalError("mask_decoder.pt: the result is not 64 x 64");
      }
      pixels.insert(pixels.end(), mask.const_data_ptr<float>(),
                    mask.const_data_ptr<float>() + kPixels);
    }
    return OkStatus();
  }));
  return pixels;
}

}  // namespace paligemma
