// SPDX-License-Identifier: Apache-2.0
// Draws objects on the picture they were found in: boxes, translucent masks, labels.
#ifndef CLIENT_OVERLAY_H_
#define CLIENT_OVERLAY_H_

#include "client/task.h"
#include "core/base/status.h"
#include "core/vision/image_decoder.h"

namespace paligemma::client {

// Masks other than PNG are left out. The error says which mask could not be read.
Status DrawObjects(const Objects& objects, RgbImage* image);

}  // namespace paligemma::client

#endif  // CLIENT_OVERLAY_H_
