// SPDX-License-Identifier: Apache-2.0
// The bundle's mask_decoder.pt. No LibTorch type here.
#ifndef CORE_MODEL_TORCHSCRIPT_MASK_DECODER_H_
#define CORE_MODEL_TORCHSCRIPT_MASK_DECODER_H_

#include <memory>
#include <string>
#include <vector>

#include "core/bundle/manifest.h"
#include "core/model/model_runner.h"

namespace paligemma {

// Thread safe; always on the CPU. Masks are decoded one at a time, so that one cannot depend on
// the others.
class TorchScriptMaskDecoder : public MaskDecoder {
 public:
  // NOT_FOUND where the manifest lists no mask decoder. `manifest` is not kept.
  static StatusOr<std::unique_ptr<TorchScriptMaskDecoder>> Load(const std::string& bundle_dir,
                                                                const Manifest& manifest,
                                                                int num_threads);
  ~TorchScriptMaskDecoder() override;

  StatusOr<std::vector<float>> Decode(const std::vector<int>& codes) override;

 private:
  struct Impl;
  explicit TorchScriptMaskDecoder(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace paligemma

#endif  // CORE_MODEL_TORCHSCRIPT_MASK_DECODER_H_
