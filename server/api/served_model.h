// SPDX-License-Identifier: Apache-2.0
// The one model of this process, from the moment its manifest is read.
#ifndef SERVER_API_SERVED_MODEL_H_
#define SERVER_API_SERVED_MODEL_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/mutex.h"
#include "core/bundle/manifest.h"
#include "core/host/backend.h"
#include "core/host/model_host.h"
#include "server/api/answer_writer.h"

namespace paligemma {

// Thread safe.
class ServedModel {
 public:
  // Exists once the weights are loaded. Shared, so that a call may outlive a drain.
  struct Loaded {
    std::shared_ptr<Backend> backend;
    std::shared_ptr<const AnswerWriter> writer;
    std::vector<std::string> devices;  // for people, "cpu (avx512)"
  };

  // `name` as requests have it: "models/...".
  ServedModel(Manifest manifest, std::string name)
      : manifest_(std::move(manifest)), name_(std::move(name)) {}
  ServedModel(const ServedModel&) = delete;
  ServedModel& operator=(const ServedModel&) = delete;

  const Manifest& manifest() const { return manifest_; }
  const std::string& name() const { return name_; }  // "models/..."

  void SetLoaded(Loaded loaded) {
    MutexLock lock(&mutex_);
    loaded_ = std::make_shared<const Loaded>(std::move(loaded));
  }
  // Returns null while the model is being loaded.
  std::shared_ptr<const Loaded> loaded() const {
    MutexLock lock(&mutex_);
    return loaded_;
  }

 private:
  const Manifest manifest_;
  const std::string name_;
  mutable Mutex mutex_;
  std::shared_ptr<const Loaded> loaded_ PG_GUARDED_BY(mutex_);
};

// Returns what calls need of a host whose model is loaded. `device` is for people.
ServedModel::Loaded LoadedOf(const std::shared_ptr<ModelHost>& host, std::string device);

}  // namespace paligemma

#endif  // SERVER_API_SERVED_MODEL_H_
