// SPDX-License-Identifier: Apache-2.0
// Loads the model that a host serves. Apart from the host, since only loading needs LibTorch.
#ifndef CORE_HOST_LOAD_MODEL_H_
#define CORE_HOST_LOAD_MODEL_H_

#include "core/base/status.h"
#include "core/host/model_host.h"

namespace paligemma {

// Loads tokenizer, weights and mask decoder from the host's directory, checks their hashes, warms
// the model up and starts the engine. Takes seconds to minutes and cannot be interrupted. An error
// is one line that names the file or the option. REQUIRES: PrepareDevice() chose
// options().runner.device; called once.
Status LoadModel(ModelHost* host);

}  // namespace paligemma

#endif  // CORE_HOST_LOAD_MODEL_H_
