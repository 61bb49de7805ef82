// SPDX-License-Identifier: Apache-2.0
#include "core/vision/resample_avx2.h"

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

namespace paligemma::vision {
namespace {

constexpr int kLowBits = 15;
constexpr int kLowMask = (1 << kLowBits) - 1;
constexpr int kPixelsPerLoad = 4;
constexpr int kRowsAtOnce = 4;  // share each load of weights
// A load takes 16 bytes for 12, and the last load of a pixel may begin 3 pixels early.
constexpr std::size_t kBytesBehindARow = 3 * kPixelsPerLoad + 4;

std::int16_t High(std::int32_t weight) { return static_cast<std::int16_t>(weight >> kLowBits); }
std::int16_t Low(std::int32_t weight) { return static_cast<std::int16_t>(weight & kLowMask); }

// Weights of four pixels in the order of SpreadPixels: in each half of the register two pixels'
// weights for red, green, blue and nothing.
struct WeightGroup {
  std::array<std::int16_t, 16> high{}, low{};
};

// The groups of all outputs, [out, groups_of(count)] behind each other.
std::vector<WeightGroup> GroupWeights(const FixedWeights& axis) {
  std::vector<WeightGroup> groups;
  for (int out = 0; out < axis.num_outputs(); ++out) {
    const std::int32_t* weights = axis.at(out);
    for (int i = 0; i < axis.count_of(out); i += kPixelsPerLoad) {
      WeightGroup group;
      for (int pixel = 0; pixel < std::min(kPixelsPerLoad, axis.count_of(out) - i); ++pixel) {
        for (int colour = 0; colour < 3; ++colour) {
          const auto place = static_cast<std::size_t>(pixel / 2 * 8 + colour * 2 + pixel % 2);
          group.high[place] = High(weights[i + pixel]);
          group.low[place] = Low(weights[i + pixel]);
        }
      }
      groups.push_back(group);
    }
  }
  return groups;
}

__m256i Load(const std::int16_t* values) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values));
}

// Four RGB pixels as 16 bits: two in each half, their reds, greens and blues side by side.
__m256i SpreadPixels(const std::uint8_t* pixels) {
  const __m256i order =
      _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, 6, -1, 9, -1, 7,
                       -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels));
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), order);
}

struct Sums {
  __m256i high = _mm256_setzero_si256();
  __m256i low = _mm256_setzero_si256();

  void Add(__m256i pairs, __m256i high_weights, __m256i low_weights) {
    high = _mm256_add_epi32(high, _mm256_madd_epi16(pairs, high_weights));
    low = _mm256_add_epi32(low, _mm256_madd_epi16(pairs, low_weights));
  }
  __m256i Join() const { return _mm256_add_epi32(_mm256_slli_epi32(high, kLowBits), low); }
};

// Rounded whole levels of 32 bits, not yet clamped.
__m256i Levels(__m256i sums) {
  const __m256i half = _mm256_set1_epi32(1 << (kPrecisionBits - 1));
  return _mm256_srai_epi32(_mm256_add_epi32(sums, half), kPrecisionBits);
}

// The sums of both halves make one pixel.
void StorePixel(const Sums& sums, std::uint8_t* out) {
  const __m256i joined = sums.Join();
  const __m128i both =
      _mm_add_epi32(_mm256_castsi256_si128(joined), _mm256_extracti128_si256(joined, 1));
  const __m128i levels = _mm256_castsi256_si128(Levels(_mm256_castsi128_si256(both)));
  const __m128i words = _mm_packs_epi32(levels, levels);
  const int bytes = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
  std::memcpy(out, &bytes, 3);
}

// `num_rows` rows (a constant once inlined) of one block; `out` advances by a pixel a time.
template <int num_rows>
void ResizeRows(const std::uint8_t* const* rows, const FixedWeights& axis, const WeightGroup* group,
                std::uint8_t* out, std::size_t out_stride) {
  for (int x = 0; x < axis.num_outputs(); ++x, out += 3) {
    Sums sums[num_rows];
    std::size_t at = static_cast<std::size_t>(axis.first_of(x)) * 3;
    for (int i = 0; i < axis.count_of(x); i += kPixelsPerLoad, at += 3 * kPixelsPerLoad, ++group) {
      const __m256i high = Load(group->high.data()), low = Load(group->low.data());
      for (int row = 0; row < num_rows; ++row) {
        sums[row].Add(SpreadPixels(rows[row] + at), high, low);
      }
    }
    for (int row = 0; row < num_rows; ++row) {
      StorePixel(sums[row], out + static_cast<std::size_t>(row) * out_stride);
    }
  }
}

// Two rows' bytes side by side as 16 bits.
__m256i Pairs(__m128i bytes) { return _mm256_cvtepu8_epi16(bytes); }

__m256i TwoWeights(std::int16_t first, std::int16_t second) {
  return _mm256_set1_epi32(static_cast<std::int32_t>(static_cast<std::uint16_t>(second)) << 16 |
                           static_cast<std::uint16_t>(first));
}

// Sixteen bytes of one output row; `rows` points at them in the first row.
void ResizeColumns(const std::uint8_t* rows, std::size_t stride, const std::int32_t* weights,
                   int count, std::uint8_t* out) {
  Sums left, right;
  for (int i = 0; i < count; i += 2, rows += 2 * stride) {
    const bool odd = i + 1 == count;
    const std::int32_t second_weight = odd ? 0 : weights[i + 1];
    const __m256i high = TwoWeights(High(weights[i]), High(second_weight));
    const __m256i low = TwoWeights(Low(weights[i]), Low(second_weight));
    const __m128i first = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows));
    const __m128i second =
        odd ? first : _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows + stride));
    left.Add(Pairs(_mm_unpacklo_epi8(first, second)), high, low);
    right.Add(Pairs(_mm_unpackhi_epi8(first, second)), high, low);
  }
  const __m256i words = _mm256_packs_epi32(Levels(left.Join()), Levels(right.Join()));
  // The pack works within halves: put the quarters in order before the bytes are made.
  const __m256i ordered = _mm256_permute4x64_epi64(words, 0b11'01'10'00);
  _mm_storeu_si128(
      reinterpret_cast<__m128i*>(out),
      _mm_packus_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1)));
}

}  // namespace

bool HaveAvx2() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") != 0;
}

void ResizeWidthAvx2(const RgbImage& image, const FixedWeights& axis, std::uint8_t* out) {
  const std::vector<WeightGroup> groups = GroupWeights(axis);
  const std::size_t stride = static_cast<std::size_t>(image.width) * 3;
  const std::size_t out_stride = static_cast<std::size_t>(axis.num_outputs()) * 3;
  // Behind the last rows are too few bytes that may be read, so they are copied.
  const int num_copied = std::min(image.height, static_cast<int>(kBytesBehindARow / stride) + 1);
  const int first_copied = image.height - num_copied;
  std::vector<std::uint8_t> copied(
      image.pixels.begin() + static_cast<std::ptrdiff_t>(stride) * first_copied,
      image.pixels.end());
  copied.resize(copied.size() + kBytesBehindARow);
  const auto row = [&](int y) {
    return y < first_copied ? image.pixels.data() + static_cast<std::size_t>(y) * stride
                            : copied.data() + static_cast<std::size_t>(y - first_copied) * stride;
  };
  int y = 0;
  for (; y + kRowsAtOnce <= image.height; y += kRowsAtOnce, out += kRowsAtOnce * out_stride) {
    const std::uint8_t* rows[kRowsAtOnce] = {row(y), row(y + 1), row(y + 2), row(y + 3)};
    ResizeRows<kRowsAtOnce>(rows, axis, groups.data(), out, out_stride);
  }
  for (; y < image.height; ++y, out += out_stride) {
    const std::uint8_t* rows[1] = {row(y)};
    ResizeRows<1>(rows, axis, groups.data(), out, out_stride);
  }
}

void ResizeHeightAvx2(const RgbImage& image, const FixedWeights& axis, std::uint8_t* out) {
  constexpr std::size_t kBytes = 16;
  const std::size_t stride = static_cast<std::size_t>(image.width) * 3;
  for (int y = 0; y < axis.num_outputs(); ++y, out += stride) {
    const std::uint8_t* rows =
        image.pixels.data() + static_cast<std::size_t>(axis.first_of(y)) * stride;
    std::size_t x = 0;
    for (; x + kBytes <= stride; x += kBytes) {
      ResizeColumns(rows + x, stride, axis.at(y), axis.count_of(y), out + x);
    }
    for (; x < stride; ++x) {
      std::int32_t sum = 1 << (kPrecisionBits - 1);
      for (int i = 0; i < axis.count_of(y); ++i) {
        sum += rows[static_cast<std::size_t>(i) * stride + x] * axis.at(y)[i];
      }
      out[x] = static_cast<std::uint8_t>(std::clamp(sum >> kPrecisionBits, 0, 255));
    }
  }
}

}  // namespace paligemma::vision
