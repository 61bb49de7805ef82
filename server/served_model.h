// SPDX-License-Identifier: Apache-2.0
// The one model of this process, from the moment its manifest is read.
#ifndef SERVER_SERVED_MODEL_H_
#define SERVER_SERVED_MODEL_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/mutex.h"
#include "core/bundle/manifest.h"
#include "core/request/validate.h"
#include "server/api/answer_writer.h"
#include "server/api/request_reader.h"
#include "server/backend.h"
#include "server/server_config.h"

namespace paligemma {

// Thread safe.
class ServedModel {
 public:
  // What is there once the weights are. Shared, so that a call outlives a drain.
  struct Loaded {
    std::shared_ptr<Backend> backend;
    std::shared_ptr<const AnswerWriter> writer;
    std::vector<std::string> devices;  // for people, "cpu (avx512)"
  };

  ServedModel(Manifest manifest, const ServerConfig& config)
      : manifest_(std::move(manifest)),
        name_("models/" + (config.model_name.empty() ? manifest_.name : config.model_name)) {
    rules_.manifest = &manifest_;
    rules_.model_name = name_;
    rules_.image_limits.max_bytes = config.max_image_bytes;
    rules_.image_limits.max_pixels = config.max_image_pixels;
    rules_.allow_ignore_eos = config.allow_ignore_eos;
  }
  ServedModel(const ServedModel&) = delete;
  ServedModel& operator=(const ServedModel&) = delete;

  const Manifest& manifest() const { return manifest_; }
  const std::string& name() const { return name_; }  // "models/..."
  const RequestRules& rules() const { return rules_; }

  void SetLoaded(Loaded loaded) {
    MutexLock lock(&mutex_);
    loaded_ = std::make_shared<const Loaded>(std::move(loaded));
  }
  // Null while loading.
  std::shared_ptr<const Loaded> loaded() const {
    MutexLock lock(&mutex_);
    return loaded_;
  }

 private:
  const Manifest manifest_;
  const std::string name_;
  RequestRules rules_;
  mutable Mutex mutex_;
  std::shared_ptr<const Loaded> loaded_ PG_GUARDED_BY(mutex_);
};

}  // namespace paligemma

#endif  // SERVER_SERVED_MODEL_H_
