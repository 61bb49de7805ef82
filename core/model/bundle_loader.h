// SPDX-License-Identifier: Apache-2.0
// A bundle's modules, checked: hashes, operator schemas, and architecture numbers against the
// manifest. Internal to core/model.
#ifndef CORE_MODEL_BUNDLE_LOADER_H_
#define CORE_MODEL_BUNDLE_LOADER_H_

#include <torch/csrc/jit/api/module.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/base/status.h"
#include "core/bundle/manifest.h"
#include "core/model/device.h"
#include "core/model/weight_packer.h"

namespace paligemma {

struct LoadedModule {
  torch::jit::Module module;
  std::int64_t parameters = 0;  // values, over all tensors
  std::int64_t bytes = 0;       // on the device
  double seconds = 0;           // hashing, loading and packing
};

class BundleLoader {
 public:
  // `manifest` must outlive the loader. On the CPU weights are packed for the kernels of the
  // calling thread's cpu::Context, which must run the modules too.
  BundleLoader(std::string directory, const Manifest& manifest, Device device, int num_threads);

  // Each error is one line that begins with the file's path. Sets torch's executor to its simple
  // mode, process-wide.
  StatusOr<LoadedModule> LoadVision() const;
  StatusOr<LoadedModule> LoadDecoder() const;
  StatusOr<LoadedModule> LoadMaskDecoder() const;

 private:
  // Checks a module and finds its matrices, before they are packed.
  using Check = std::function<StatusOr<std::vector<NamedMatrix>>(const torch::jit::Module&)>;

  StatusOr<LoadedModule> Load(const std::string& name, const Check& check) const;

  const std::string directory_;
  const Manifest& manifest_;
  const Device device_;
  const int num_threads_;
};

}  // namespace paligemma

#endif  // CORE_MODEL_BUNDLE_LOADER_H_
