// SPDX-License-Identifier: Apache-2.0
#include "core/vision/mask_renderer.h"

#include <png.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "core/vision/mask_polygon.h"
#include "core/vision/resampler.h"

namespace paligemma {
namespace {

constexpr int kPngCompression = 3;  // masks are long runs; more costs time and saves nothing

int Width(const PixelBox& box) { return std::max(box.x_max - box.x_min, 0); }
int Height(const PixelBox& box) { return std::max(box.y_max - box.y_min, 0); }

PixelBox CutToImage(const PixelBox& box, int width, int height) {
  return PixelBox{.x_min = std::clamp(box.x_min, 0, width),
                  .y_min = std::clamp(box.y_min, 0, height),
                  .x_max = std::clamp(box.x_max, 0, width),
                  .y_max = std::clamp(box.y_max, 0, height)};
}

// A binary mask over a box.
struct Mask {
  PixelBox box;
  std::vector<std::uint8_t> pixels;  // [height, width], 0 or 255
  std::int64_t num_set = 0;
};

Mask Threshold(std::span<const float> values, const PixelBox& box, float threshold) {
  Mask mask{box, {}, 0};
  const int width = Width(box), height = Height(box);
  if (width == 0 || height == 0) return mask;
  const float least = 2 * threshold - 1;
  const BilinearRows rows(values, kMaskSide, kMaskSide, width, height);
  std::vector<float> row(static_cast<std::size_t>(width));
  mask.pixels.reserve(static_cast<std::size_t>(width) * static_cast<std::size_t>(height));
  for (int y = 0; y < height; ++y) {
    rows.Row(y, row);
    for (float value : row) {
      const bool set = value > least;
      mask.num_set += set ? 1 : 0;
      mask.pixels.push_back(set ? 255 : 0);
    }
  }
  return mask;
}

// The same mask in the middle of nothing.
Mask Extend(const Mask& mask, int image_width, int image_height) {
  Mask whole{{0, 0, image_width, image_height}, {}, mask.num_set};
  whole.pixels.resize(static_cast<std::size_t>(image_width) *
                      static_cast<std::size_t>(image_height));
  const auto width = static_cast<std::size_t>(Width(mask.box));
  for (int y = 0; y < Height(mask.box) && width > 0; ++y) {
    const std::size_t place =
        static_cast<std::size_t>(mask.box.y_min + y) * static_cast<std::size_t>(image_width) +
        static_cast<std::size_t>(mask.box.x_min);
    std::copy_n(mask.pixels.data() + static_cast<std::size_t>(y) * width, width,
                whole.pixels.data() + place);
  }
  return whole;
}

// libpng's errors leave by longjmp: no object with a destructor in here.
bool WritePng(png_structp png, png_infop info, const Mask* mask) {
  if (setjmp(png_jmpbuf(png)) != 0) return false;
  const auto width = static_cast<png_uint_32>(Width(mask->box));
  const auto height = static_cast<png_uint_32>(Height(mask->box));
  png_set_IHDR(png, info, width, height, 8, PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_set_compression_level(png, kPngCompression);
  png_set_filter(png, PNG_FILTER_TYPE_BASE, PNG_FILTER_NONE);
  png_write_info(png, info);
  for (png_uint_32 y = 0; y < height; ++y) {
    png_write_row(png, mask->pixels.data() + std::size_t{y} * width);
  }
  png_write_end(png, info);
  return true;
}

StatusOr<std::string> EncodePng(const Mask& mask) {
  std::string bytes;
  const auto on_error = [](png_structp png, png_const_charp) { png_longjmp(png, 1); };
  const auto on_write = [](png_structp png, png_bytep data, std::size_t size) {
    static_cast<std::string*>(png_get_io_ptr(png))
        ->append(reinterpret_cast<const char*>(data), size);
  };
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, on_error,
                                            [](png_structp, png_const_charp) {});
  if (png == nullptr) return InternalError("libpng cannot write");
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(png, &bytes, on_write, [](png_structp) {});
  const bool good = info != nullptr && WritePng(png, info, &mask);
  png_destroy_write_struct(&png, &info);
  if (!good) return InternalError("libpng cannot write a mask");
  return bytes;
}

// pycocotools' rleToString: each run but the first three as the difference to the last but one, in
// groups of 5 bits, lowest first, a sixth that says whether more follow.
std::string EncodeRle(const Mask& mask) {
  const auto width = static_cast<std::size_t>(Width(mask.box));
  std::vector<std::int64_t> runs;
  std::int64_t run = 0;
  bool set = false;  // the first run is of pixels that do not belong
  for (std::size_t x = 0; x < width; ++x) {
    for (std::size_t at = x; at < mask.pixels.size(); at += width) {
      if ((mask.pixels[at] != 0) != set) {
        runs.push_back(std::exchange(run, 0));
        set = !set;
      }
      ++run;
    }
  }
  runs.push_back(run);
  std::string counts;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    std::int64_t value = i > 2 ? runs[i] - runs[i - 2] : runs[i];
    for (bool more = true; more;) {
      auto group = static_cast<int>(value & 0x1F);
      value >>= 5;
      more = (group & 0x10) != 0 ? value != -1 : value != 0;
      if (more) group |= 0x20;
      counts += static_cast<char>(group + 48);
    }
  }
  return counts;
}

std::string EncodeSoft(std::span<const float> values) {
  std::string bytes;
  for (float value : values) {
    const float probability = std::isnan(value) ? 0 : std::clamp((value + 1) / 2, 0.0f, 1.0f);
    bytes += static_cast<char>(static_cast<std::uint8_t>(std::lround(255 * probability)));
  }
  return bytes;
}

}  // namespace

StatusOr<RenderedMask> RenderMask(std::span<const float> values, const PixelBox& box,
                                  int image_width, int image_height, const MaskOptions& options) {
  if (values.size() != std::size_t{kMaskSide} * kMaskSide) {
    return InternalError("the mask decoder gave " + std::to_string(values.size()) + " values");
  }
  Mask mask = Threshold(values, CutToImage(box, image_width, image_height), options.threshold);
  if (options.whole_image && options.encoding != MaskEncoding::kSoft) {
    mask = Extend(mask, image_width, image_height);
  }
  RenderedMask rendered;
  rendered.region = mask.box;
  rendered.num_pixels = mask.num_set;
  if (mask.pixels.empty()) return rendered;
  switch (options.encoding) {
    case MaskEncoding::kPng: {
      PG_ASSIGN_OR_RETURN(rendered.png, EncodePng(mask));
      break;
    }
    case MaskEncoding::kRle:
      rendered.rle_counts = EncodeRle(mask);
      break;
    case MaskEncoding::kPolygon: {
      PG_ASSIGN_OR_RETURN(rendered.rings,
                          vision::MaskRings(mask.pixels, Width(mask.box), Height(mask.box),
                                            mask.box.x_min, mask.box.y_min));
      break;
    }
    case MaskEncoding::kSoft:
      rendered.soft = EncodeSoft(values);
      break;
    case MaskEncoding::kNone:
    case MaskEncoding::kCodes:
      break;  // nothing to encode
  }
  return rendered;
}

}  // namespace paligemma
