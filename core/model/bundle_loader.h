// SPDX-License-Identifier: Apache-2.0
// A bundle's modules, checked: hashes, operator schemas, and architecture numbers against the
// manifest. Internal to core/model.
#ifndef CORE_MODEL_BUNDLE_LOADER_H_
#define CORE_MODEL_BUNDLE_LOADER_H_

#include <torch/csrc/jit/api/module.h>

#include <cstdint>
#include <functional>
#include <string>

#include "core/base/status.h"
#include "core/bundle/manifest.h"

namespace paligemma {

struct LoadedModule {
  torch::jit::Module module;
  std::int64_t parameters = 0;  // values, over all tensors
  std::int64_t bytes = 0;       // on the device
  double seconds = 0;           // hashing, loading and packing
};

class BundleLoader {
 public:
  // `manifest` must outlive the loader. `device`: "cpu" or "cuda:N". On CPUs weights are packed for
  // the kernels of the calling thread's cpu::Context, which must run the modules too.
  BundleLoader(std::string directory, const Manifest& manifest, std::string device,
               int num_threads);

  // Each error is one line that begins with the file's path. Sets torch's executor to its simple
  // mode, process-wide.
  StatusOr<LoadedModule> LoadVision() const;
  StatusOr<LoadedModule> LoadDecoder() const;
  StatusOr<LoadedModule> LoadMaskDecoder() const;

 private:
  // `check` sees the module before its weights are packed.
  StatusOr<LoadedModule> Load(const std::string& name,
                              const std::function<Status(const torch::jit::Module&)>& check) const;

  const std::string directory_;
  const Manifest& manifest_;
  const std::string device_;
  const int num_threads_;
};

}  // namespace paligemma

#endif  // CORE_MODEL_BUNDLE_LOADER_H_
