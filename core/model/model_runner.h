// SPDX-License-Identifier: Apache-2.0
// The seam between scheduling and tensors. No LibTorch type, so that the engine and its tests build
// without it.
#ifndef CORE_MODEL_MODEL_RUNNER_H_
#define CORE_MODEL_MODEL_RUNNER_H_

#include <string>
#include <vector>

#include "core/base/status.h"
#include "core/request/batch.h"

namespace paligemma {

// Thread safety: none; one engine thread calls it.
class ModelRunner {
 public:
  virtual ~ModelRunner() = default;

  // Starts a step and does not wait for it on devices that run beside the CPU. At most depth()
  // steps are in flight. `batch` must live until its Finish() returned. An error means that nothing
  // was started.
  virtual Status Start(const Batch& batch) = 0;

  // Waits for the oldest started step: one output per row, in order. An error concerns the whole
  // step (DEVICE_OUT_OF_MEMORY may be tried again smaller; INTERNAL may not).
  virtual StatusOr<StepResult> Finish() = 0;

  // 1 on CPUs; 2 on GPUs, where the next step is planned while one runs.
  virtual int depth() const = 0;

  virtual int num_kv_blocks() const = 0;
  virtual int kv_block_size() const = 0;  // token positions
};

// Decodes the 16 codes of a mask to 64 x 64 logits; a pixel belongs where its value is > 0.
// Thread safe.
class MaskDecoder {
 public:
  static constexpr int kNumCodes = 16;
  static constexpr int kSide = 64;
  virtual ~MaskDecoder() = default;

  // `codes`: kNumCodes values per mask, each in [0, 128). Returns kSide * kSide values per mask,
  // row-major.
  virtual StatusOr<std::vector<float>> Decode(const std::vector<int>& codes) = 0;
};

}  // namespace paligemma

#endif  // CORE_MODEL_MODEL_RUNNER_H_
