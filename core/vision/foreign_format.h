// SPDX-License-Identifier: Apache-2.0
// Names the format of bytes that were sent as an image but are none. Private to core/vision.
#ifndef CORE_VISION_FOREIGN_FORMAT_H_
#define CORE_VISION_FOREIGN_FORMAT_H_

#include <string_view>

#include "core/vision/codec.h"

namespace paligemma::vision {

// Returns what `bytes` are and what to do, e.g. "this is a GIF: send one of its frames as PNG"; the
// text names the kind only and repeats nothing of the content. Looks at the first few hundred
// bytes. Python's client has the same sentences (clients/python/paligemma_serving/_formats.py).
std::string_view DescribeForeignFormat(Bytes bytes);

}  // namespace paligemma::vision

#endif  // CORE_VISION_FOREIGN_FORMAT_H_
