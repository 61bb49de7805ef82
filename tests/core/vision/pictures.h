// SPDX-License-Identifier: Apache-2.0
// Test pictures: the committed files, and the pattern of the golden hashes.
#ifndef TESTS_CORE_VISION_PICTURES_H_
#define TESTS_CORE_VISION_PICTURES_H_

#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>

#include "core/vision/image_decoder.h"

namespace paligemma {

// A file of this folder.
inline std::string ReadFile(const std::string& name) {
  std::ifstream stream("tests/core/vision/" + name, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(stream), {});
}

inline std::string ReadPicture(const std::string& name) { return ReadFile("images/" + name); }

inline ImageInput Encoded(std::string bytes) {
  ImageInput input;
  input.encoded = std::move(bytes);
  return input;
}

// R = 7x + 13y, G = x * x + 3y, B = (x ^ y) * 5, each modulo 256 (semantics 2.4).
inline RgbImage Pattern(int height, int width) {
  RgbImage image{width, height, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      image.pixels.push_back(static_cast<std::uint8_t>(7 * x + 13 * y));
      image.pixels.push_back(static_cast<std::uint8_t>(x * x + 3 * y));
      image.pixels.push_back(static_cast<std::uint8_t>((x ^ y) * 5));
    }
  }
  return image;
}

}  // namespace paligemma

#endif  // TESTS_CORE_VISION_PICTURES_H_
