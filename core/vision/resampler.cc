// SPDX-License-Identifier: Apache-2.0
#include "core/vision/resampler.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/vision/resample_avx2.h"
#include "core/vision/resample_axis.h"

namespace paligemma {
namespace {

using vision::AxisWeights;
using vision::FixedWeights;
using vision::kPrecisionBits;

struct Filter {
  double support;
  double (*weight)(double);
};

double Bicubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

double Triangle(double x) {
  x = std::fabs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

constexpr Filter kBicubic{2.0, Bicubic};
constexpr Filter kTriangle{1.0, Triangle};

AxisWeights<double> ComputeWeights(int in_size, int out_size, const Filter& filter) {
  const double scale = static_cast<double>(in_size) / out_size;
  const double filter_scale = std::max(scale, 1.0);
  const double support = filter.support * filter_scale;
  AxisWeights<double> axis;
  axis.stride = static_cast<int>(std::ceil(support)) * 2 + 1;
  axis.first.resize(static_cast<std::size_t>(out_size));
  axis.count.resize(static_cast<std::size_t>(out_size));
  axis.weights.resize(static_cast<std::size_t>(out_size) * static_cast<std::size_t>(axis.stride));
  const double inverse_scale = 1.0 / filter_scale;
  for (int out = 0; out < out_size; ++out) {
    const double center = (out + 0.5) * scale;
    const int first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int count = std::min(static_cast<int>(center + support + 0.5), in_size) - first;
    double* weights =
        axis.weights.data() + static_cast<std::size_t>(out) * static_cast<std::size_t>(axis.stride);
    double sum = 0;
    for (int i = 0; i < count; ++i) {
      weights[i] = filter.weight((i + first - center + 0.5) * inverse_scale);
      sum += weights[i];
    }
    for (int i = 0; i < count && sum != 0; ++i) weights[i] /= sum;
    axis.first[static_cast<std::size_t>(out)] = first;
    axis.count[static_cast<std::size_t>(out)] = count;
  }
  return axis;
}

FixedWeights Quantize(const AxisWeights<double>& axis) {
  FixedWeights fixed{axis.first, axis.count, axis.stride, {}};
  fixed.weights.reserve(axis.weights.size());
  for (double weight : axis.weights) {
    const double scaled = weight * (1 << kPrecisionBits);
    fixed.weights.push_back(static_cast<std::int32_t>(weight < 0 ? scaled - 0.5 : scaled + 0.5));
  }
  return fixed;
}

std::uint8_t Clip8(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> kPrecisionBits, 0, 255));
}

void ResizeWidthPlain(const RgbImage& image, const FixedWeights& axis, std::uint8_t* out) {
  const std::size_t stride = static_cast<std::size_t>(image.width) * 3;
  for (int y = 0; y < image.height; ++y) {
    const std::uint8_t* row = image.pixels.data() + static_cast<std::size_t>(y) * stride;
    for (int x = 0; x < axis.num_outputs(); ++x, out += 3) {
      const std::uint8_t* pixel = row + std::size_t{3} * static_cast<std::size_t>(axis.first_of(x));
      const std::int32_t* weight = axis.at(x);
      std::int32_t r = 1 << (kPrecisionBits - 1), g = r, b = r;
      for (int i = 0; i < axis.count_of(x); ++i, pixel += 3) {
        r += pixel[0] * weight[i];
        g += pixel[1] * weight[i];
        b += pixel[2] * weight[i];
      }
      out[0] = Clip8(r);
      out[1] = Clip8(g);
      out[2] = Clip8(b);
    }
  }
}

void ResizeHeightPlain(const RgbImage& image, const FixedWeights& axis, std::uint8_t* out) {
  const std::size_t stride = static_cast<std::size_t>(image.width) * 3;
  std::vector<std::int32_t> sums(stride);
  for (int y = 0; y < axis.num_outputs(); ++y, out += stride) {
    std::fill(sums.begin(), sums.end(), 1 << (kPrecisionBits - 1));
    for (int i = 0; i < axis.count_of(y); ++i) {
      const std::uint8_t* row =
          image.pixels.data() + static_cast<std::size_t>(axis.first_of(y) + i) * stride;
      const std::int32_t weight = axis.at(y)[i];
      for (std::size_t x = 0; x < stride; ++x) sums[x] += row[x] * weight;
    }
    for (std::size_t x = 0; x < stride; ++x) out[x] = Clip8(sums[x]);
  }
}

RgbImage Blank(int width, int height) {
  RgbImage image{width, height, {}};
  image.pixels.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  return image;
}

RgbImage ResizeWidth(const RgbImage& image, int width, const Filter& filter, bool plain) {
  RgbImage result = Blank(width, image.height);
  const FixedWeights axis = Quantize(ComputeWeights(image.width, width, filter));
  (plain ? ResizeWidthPlain : vision::ResizeWidthAvx2)(image, axis, result.pixels.data());
  return result;
}

RgbImage ResizeHeight(const RgbImage& image, int height, const Filter& filter, bool plain) {
  RgbImage result = Blank(image.width, height);
  const FixedWeights axis = Quantize(ComputeWeights(image.height, height, filter));
  (plain ? ResizeHeightPlain : vision::ResizeHeightAvx2)(image, axis, result.pixels.data());
  return result;
}

// Horizontal first, into 8 bits; a side that keeps its size is not touched.
std::vector<std::uint8_t> ResizePillow(const RgbImage& image, int size, const Filter& filter,
                                       bool plain) {
  const RgbImage* source = &image;
  RgbImage wide, tall;
  if (source->width != size) {
    wide = ResizeWidth(*source, size, filter, plain);
    source = &wide;
  }
  if (source->height != size) {
    tall = ResizeHeight(*source, size, filter, plain);
    source = &tall;
  }
  return source->pixels;
}

struct Interpolation {
  int lower, upper;
  float fraction;
};

// TensorFlow's half-pixel centres, in its float32.
std::vector<Interpolation> ComputeInterpolation(int in_size, int out_size) {
  const float scale = static_cast<float>(in_size) / static_cast<float>(out_size);
  std::vector<Interpolation> places;
  for (int i = 0; i < out_size; ++i) {
    const float in = (static_cast<float>(i) + 0.5f) * scale - 0.5f;
    const float floor = std::floor(in);
    places.push_back({std::max(static_cast<int>(floor), 0),
                      std::min(static_cast<int>(std::ceil(in)), in_size - 1), in - floor});
  }
  return places;
}

std::vector<std::uint8_t> ResizeTensorFlow(const RgbImage& image, int size) {
  const auto columns = ComputeInterpolation(image.width, size);
  const auto rows = ComputeInterpolation(image.height, size);
  const std::size_t stride = static_cast<std::size_t>(image.width) * 3;
  std::vector<std::uint8_t> result;
  result.reserve(static_cast<std::size_t>(size) * static_cast<std::size_t>(size) * 3);
  for (const Interpolation& y : rows) {
    const std::uint8_t* top = image.pixels.data() + static_cast<std::size_t>(y.lower) * stride;
    const std::uint8_t* bottom = image.pixels.data() + static_cast<std::size_t>(y.upper) * stride;
    for (const Interpolation& x : columns) {
      for (std::size_t c = 0; c < 3; ++c) {
        const std::size_t left = static_cast<std::size_t>(x.lower) * 3 + c;
        const std::size_t right = static_cast<std::size_t>(x.upper) * 3 + c;
        const float a = top[left] + static_cast<float>(top[right] - top[left]) * x.fraction;
        const float b =
            bottom[left] + static_cast<float>(bottom[right] - bottom[left]) * x.fraction;
        const float value = std::clamp(a + (b - a) * y.fraction, 0.0f, 255.0f);
        result.push_back(static_cast<std::uint8_t>(value));
      }
    }
  }
  return result;
}

RgbImage PadWhite(const RgbImage& image) {
  const int side = std::max(image.width, image.height);
  const int left = static_cast<int>(std::nearbyint((side - image.width) * 0.5));
  const int top = static_cast<int>(std::nearbyint((side - image.height) * 0.5));
  RgbImage padded{side, side, {}};
  padded.pixels.assign(static_cast<std::size_t>(side) * static_cast<std::size_t>(side) * 3, 255);
  const std::size_t row_bytes = static_cast<std::size_t>(image.width) * 3;
  for (int y = 0; y < image.height; ++y) {
    const auto from = image.pixels.begin() + static_cast<std::ptrdiff_t>(y * row_bytes);
    const std::size_t place = (static_cast<std::size_t>(top + y) * static_cast<std::size_t>(side) +
                               static_cast<std::size_t>(left)) *
                              3;
    std::copy(from, from + static_cast<std::ptrdiff_t>(row_bytes),
              padded.pixels.begin() + static_cast<std::ptrdiff_t>(place));
  }
  return padded;
}

}  // namespace

std::vector<std::uint8_t> ResizeToSquare(const RgbImage& image, int size, Resampling resampling,
                                         Padding padding, ResizeKernels kernels) {
  if (padding == Padding::kPadWhite && image.width != image.height) {
    return ResizeToSquare(PadWhite(image), size, resampling, Padding::kSquash, kernels);
  }
  static const bool have_avx2 = vision::HaveAvx2();
  const bool plain = kernels == ResizeKernels::kPlain || !have_avx2;
  switch (resampling) {
    case Resampling::kPillowBicubic:
      return ResizePillow(image, size, kBicubic, plain);
    case Resampling::kBilinearAntialias:
      return ResizePillow(image, size, kTriangle, plain);
    case Resampling::kBilinear:
      return ResizeTensorFlow(image, size);
  }
  return {};
}

struct BilinearRows::Weights {
  AxisWeights<double> axis;
};

BilinearRows::BilinearRows(std::span<const float> pixels, int width, int height, int out_width,
                           int out_height)
    : out_width_(out_width), vertical_(new Weights{ComputeWeights(height, out_height, kTriangle)}) {
  const auto axis = ComputeWeights(width, out_width, kTriangle);
  columns_.reserve(static_cast<std::size_t>(height) * static_cast<std::size_t>(out_width));
  for (int y = 0; y < height; ++y) {
    const std::span<const float> row =
        pixels.subspan(static_cast<std::size_t>(y) * static_cast<std::size_t>(width));
    for (int x = 0; x < out_width; ++x) {
      const auto first = static_cast<std::size_t>(axis.first[static_cast<std::size_t>(x)]);
      double sum = 0;
      for (int i = 0; i < axis.count[static_cast<std::size_t>(x)]; ++i) {
        sum += row[first + static_cast<std::size_t>(i)] * axis.at(x)[i];
      }
      columns_.push_back(static_cast<float>(sum));
    }
  }
}

BilinearRows::~BilinearRows() = default;

void BilinearRows::Row(int y, std::span<float> row) const {
  const AxisWeights<double>& axis = vertical_->axis;
  const auto stride = static_cast<std::size_t>(out_width_);
  const float* first =
      columns_.data() + static_cast<std::size_t>(axis.first[static_cast<std::size_t>(y)]) * stride;
  const int count = axis.count[static_cast<std::size_t>(y)];
  for (std::size_t x = 0; x < stride; ++x) {
    double sum = 0;
    for (int i = 0; i < count; ++i) {
      sum += first[static_cast<std::size_t>(i) * stride + x] * axis.at(y)[i];
    }
    row[x] = static_cast<float>(sum);
  }
}

}  // namespace paligemma
