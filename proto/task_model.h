// SPDX-License-Identifier: Apache-2.0
// The model that a task names, whichever task it is.
#ifndef PROTO_TASK_MODEL_H_
#define PROTO_TASK_MODEL_H_

#include <string>

#include "paligemma/v1/paligemma_service.pb.h"

namespace paligemma {

// Empty for a task that is not set. Lives as long as `task`.
inline const std::string& ModelOf(const v1::TaskRequest& task) {
  switch (task.task_case()) {
    case v1::TaskRequest::kAnswer:
      return task.answer().model();
    case v1::TaskRequest::kDetect:
      return task.detect().model();
    case v1::TaskRequest::kSegment:
      return task.segment().model();
    case v1::TaskRequest::kReadText:
      return task.read_text().model();
    case v1::TaskRequest::kGenerate:
      return task.generate().model();
    case v1::TaskRequest::kCaption:
    case v1::TaskRequest::TASK_NOT_SET:
      break;
  }
  return task.caption().model();
}

}  // namespace paligemma

#endif  // PROTO_TASK_MODEL_H_
