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
#include "core/model/model_runner.h"
#include "core/model/runner_options.h"

namespace paligemma {

class TorchScriptRunner : public ModelRunner {
 public:
  struct Options : RunnerOptions {
    std::string bundle_dir;
    Manifest manifest;
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
