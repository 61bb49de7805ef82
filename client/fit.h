// SPDX-License-Identifier: Apache-2.0
// Pictures above the server's limits: each is resized to the square that the model sees, by the
// rule that GetModel tells, so that text and normalized boxes are those of the full picture.
#ifndef CLIENT_FIT_H_
#define CLIENT_FIT_H_

#include <string>
#include <vector>

#include "core/base/status.h"
#include "paligemma/v1/model_service.pb.h"
#include "paligemma/v1/paligemma_service.pb.h"

namespace paligemma::client {

// Pictures that this client decodes: those of phones. The server's limits are lower.
inline constexpr std::int64_t kMaxLocalPixels = std::int64_t{1} << 28;

// What the server does not know about a picture that was resized here.
struct ResizedPicture {
  int index = 0;              // in the request
  int width = 0, height = 0;  // upright, of the full picture
  int sent = 0;               // pixels of each side that the server saw
  int orientation = 1;
  std::string mime_type;
};

// Replaces each picture of `task` that exceeds the model's limits. Returns none, and changes
// nothing, if the server does not tell how it resizes or if no picture exceeds a limit. The error
// is that of a picture that cannot be decoded.
StatusOr<std::vector<ResizedPicture>> FitPictures(const v1::Model& model, v1::TaskRequest* task);

// Puts pixel boxes and the regions of masks into the pixels of the full pictures. The pixels of
// masks stay as they were sent.
void RestoreObject(const std::vector<ResizedPicture>& resized, v1::DetectedObject* object);
void RestoreResponse(const std::vector<ResizedPicture>& resized, v1::TaskResponse* response);

}  // namespace paligemma::client

#endif  // CLIENT_FIT_H_
