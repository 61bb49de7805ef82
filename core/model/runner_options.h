// SPDX-License-Identifier: Apache-2.0
// The options of the model runner, and its report about a loaded model. Values; no LibTorch
// type here.
#ifndef CORE_MODEL_RUNNER_OPTIONS_H_
#define CORE_MODEL_RUNNER_OPTIONS_H_

#include <cstdint>
#include <string>

#include "core/model/device.h"
#include "core/model/kv_cache_plan.h"

namespace paligemma {

struct RunnerOptions {
  Device device;                    // as PrepareDevice chose it
  int num_threads = 1;              // that compute on the CPU
  std::string cpu_isa = "auto";     // which CPU kernels (core/cpu/isa.h)
  int num_kv_blocks = 0;            // > 0: exactly so many, kv_cache_bytes is ignored
  std::int64_t kv_cache_bytes = 0;  // 0: derived from free memory
  int kv_block_size = 16;           // token positions
  std::string kv_dtype = "auto";    // auto: bfloat16 for bfloat16 bundles, else float32
  int max_sequences = 1;            // that run at the same time; bounds a derived KV cache
  int max_vision_batch = 1;         // images in one call of the encoder (GPUs)
  int image_cache_images = 64;      // encoded images kept
};

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

}  // namespace paligemma

#endif  // CORE_MODEL_RUNNER_OPTIONS_H_
