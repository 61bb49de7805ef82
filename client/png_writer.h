// SPDX-License-Identifier: Apache-2.0
// RGB pixels to a PNG file. Without libpng, which belongs to core/vision: a PNG that is only
// written needs zlib and four chunks.
#ifndef CLIENT_PNG_WRITER_H_
#define CLIENT_PNG_WRITER_H_

#include <string>

#include "core/base/status.h"
#include "core/vision/image_decoder.h"

namespace paligemma::client {

std::string EncodePng(const RgbImage& image);
Status WriteFile(const std::string& path, const std::string& bytes);

}  // namespace paligemma::client

#endif  // CLIENT_PNG_WRITER_H_
