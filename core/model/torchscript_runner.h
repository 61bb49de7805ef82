// SPDX-License-Identifier: Apache-2.0
// Runs a bundle's TorchScript modules: images through the encoder and its cache, batches through
// the decoder over paged keys and values, and the sampler. No LibTorch type here.
//
// A step's Start() runs it to its end and Finish() hands the result over: on CPUs nothing could run
// beside it, and on GPUs the reference kernels wait for the device anyway. depth() is therefore 1
// on both; BatchRow::input_row is honoured all the same.
#ifndef CORE_MODEL_TORCHSCRIPT_RUNNER_H_
#define CORE_MODEL_TORCHSCRIPT_RUNNER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "core/bundle/manifest.h"
#include "core/model/device.h"
#include "core/model/kv_cache_plan.h"
#include "core/model/model_runner.h"

namespace paligemma {

// For the start-up summary.
struct ModelSummary {
  std::int64_t vision_parameters = 0, decoder_parameters = 0;
  std::int64_t weight_bytes = 0;
  double load_seconds = 0;  // hashing included
  std::string kv_dtype;
  std::string cpu_isa;         // of the kernels; empty on GPUs
  std::string cpu_isa_reason;  // why these; empty on GPUs
  KvCachePlan kv;
  std::int64_t image_cache_bytes = 0;
};

class TorchScriptRunner : public ModelRunner {
 public:
  struct Options {
    std::string bundle_dir;
    Manifest manifest;
    Device device;                    // as PrepareDevice chose it
    int num_threads = 1;              // that compute on the CPU
    std::string cpu_isa = "auto";     // which CPU kernels (core/cpu/isa.h)
    int num_kv_blocks = 0;            // > 0: exactly so many, kv_cache_bytes is ignored
    std::int64_t kv_cache_bytes = 0;  // 0: derived from free memory
    int kv_block_size = 16;
    std::string kv_dtype = "auto";  // auto: bfloat16 for bfloat16 bundles, else float32
    int max_sequences = 64;         // that run at the same time; bounds a derived KV cache
    int max_vision_batch = 8;       // images in one call of the encoder (GPUs)
    int image_cache_images = 64;    // encoded images kept
  };

  // Errors are one line that names the file or the option.
  static StatusOr<std::unique_ptr<TorchScriptRunner>> Load(Options options);
  ~TorchScriptRunner() override;

  Status Start(const Batch& batch) override;
  StatusOr<StepResult> Finish() override;
  int depth() const override { return 1; }
  int num_kv_blocks() const override;
  int kv_block_size() const override;

  // Runs one image, a prompt and two cached rows, so that the first request does not pay for first
  // times. Call before the first Start().
  Status WarmUp();

  const ModelSummary& summary() const;

 private:
  class Impl;
  explicit TorchScriptRunner(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace paligemma

#endif  // CORE_MODEL_TORCHSCRIPT_RUNNER_H_
