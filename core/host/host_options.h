// SPDX-License-Identifier: Apache-2.0
// The options of a model host. The structs inside belong to the parts that read them. Each default
// stands there and nowhere else. Values.
#ifndef CORE_HOST_HOST_OPTIONS_H_
#define CORE_HOST_HOST_OPTIONS_H_

#include <cstdint>
#include <string>

#include "core/bundle/manifest.h"
#include "core/engine/dispatcher.h"
#include "core/model/runner_options.h"
#include "core/request/image.h"

namespace paligemma {

struct HostOptions {
  std::string model_name;  // in the API, without "models/"; empty: the manifest's
  int num_threads = 0;     // that compute on the CPU; 0: as many as the cgroup grants
  bool allow_ignore_eos = false;
  std::int64_t kv_cache_mib = 0;  // for keys and values; 0: derived from what is free
  ImageLimits image_limits;
  // From the manifest and num_threads, the host derives tokens_per_image, the numbers of threads,
  // and max_queued_tokens where it is 0.
  DispatcherOptions dispatcher;
  // The host fills in num_threads, kv_cache_bytes and the members that the scheduler's options
  // bound.
  RunnerOptions runner;
};

// Returns the model's name as requests have it: "models/...".
inline std::string ModelName(const Manifest& manifest, const HostOptions& options) {
  return "models/" + (options.model_name.empty() ? manifest.name : options.model_name);
}

}  // namespace paligemma

#endif  // CORE_HOST_HOST_OPTIONS_H_
