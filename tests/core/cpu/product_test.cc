// SPDX-License-Identifier: Apache-2.0
// Products on every instruction set of the machine, against plain loops, and the property that
// serving rests on: a row's result does not depend on its batch or on the threads.
#include "core/cpu/product.h"

#include <gmock/gmock.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

namespace paligemma::cpu {
namespace {

using ::testing::ElementsAreArray;

constexpr Encoding kEncodings[] = {Encoding::kFloat32, Encoding::kBfloat16, Encoding::kInt8,
                                   Encoding::kInt4, Encoding::kFp8};

// As the reference rounds: to nearest, ties to even.
float ToBfloat16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return std::bit_cast<float>((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u);
}

// A sign, four bits of exponent and three of mantissa, as the format's definition reads them.
float FromFp8(int byte) {
  const int exponent = byte >> 3 & 15, mantissa = byte & 7;
  const double size =
      exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(1 + mantissa / 8., exponent - 7);
  return static_cast<float>((byte & 0x80) != 0 ? -size : size);
}

// A matrix with the memory that it views.
class Matrix {
 public:
  // `values`: [outputs * inputs], for int8 whole numbers from -127 to 127, for int4 from -8 to 7,
  // for fp8 the values' bytes.
  Matrix(Encoding encoding, int outputs, int inputs, const std::vector<float>& values)
      : values_(values),
        words_(NumPanels(outputs) * NumSteps(encoding, inputs) * WordsPerStep(encoding)),
        sums_(NumPanels(outputs) * kPanel) {
    std::mt19937 random(outputs);
    std::uniform_real_distribution<float> scales(0.01f, 2);
    for (int o = 0; o < outputs; ++o) scale_.push_back(scales(random));
    const int groups = encoding == Encoding::kInt4 ? outputs * inputs / 32 : 0;
    for (int i = 0; i < groups; ++i) {
      group_scales_.push_back(std::bit_cast<std::uint32_t>(scales(random)) >> 16);
    }
    const std::vector<std::uint8_t> source = Stored(encoding);
    const PlainMatrix plain{encoding, outputs, inputs, source.data(), group_scales_.data()};
    for (int panel = 0; panel < NumPanels(outputs); ++panel) {
      PackPanel(plain, panel, words_.data(), sums_.data());
    }
    view_ = {encoding, outputs, inputs, words_.data(), scale_.data(), sums_.data()};
  }

  const PackedMatrix& view() const { return view_; }
  // int4: without its group's scale.
  float value(int output, int input) const { return values_[output * view_.inputs + input]; }
  float scale(int output) const { return scale_[output]; }
  float group_scale(int output, int group) const {
    const std::uint32_t bits = group_scales_[output * view_.inputs / 32 + group];
    return std::bit_cast<float>(bits << 16);
  }

 private:
  // Rounds values_ to the encoding and returns them as bundles store them.
  std::vector<std::uint8_t> Stored(Encoding encoding) {
    std::vector<std::uint8_t> bytes;
    for (std::size_t i = 0; encoding == Encoding::kInt4 && i < values_.size(); i += 2) {
      bytes.push_back(static_cast<std::uint8_t>(values_[i] + 8) |
                      static_cast<std::uint8_t>(values_[i + 1] + 8) << 4);
    }
    for (float& value : values_) {
      if (encoding == Encoding::kInt4) {
        break;
      }
      if (encoding == Encoding::kInt8) {
        bytes.push_back(static_cast<std::uint8_t>(static_cast<std::int8_t>(value)));
        continue;
      }
      if (encoding == Encoding::kFp8) {
        bytes.push_back(static_cast<std::uint8_t>(value));
        value = FromFp8(bytes.back());
        continue;
      }
      value = encoding == Encoding::kBfloat16 ? ToBfloat16(value) : value;
      const auto bits = std::bit_cast<std::array<std::uint8_t, 4>>(value);
      bytes.insert(bytes.end(), bits.begin() + (encoding == Encoding::kBfloat16 ? 2 : 0),
                   bits.end());
    }
    return bytes;
  }

  std::vector<float> values_;
  AlignedBuffer<std::uint32_t> words_;
  std::vector<std::int32_t> sums_;
  std::vector<float> scale_;
  std::vector<std::uint16_t> group_scales_;
  PackedMatrix view_;
};

std::vector<float> RandomValues(int count, int seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// Whole numbers from `least` to `most`.
std::vector<float> RandomNumbers(int count, int seed, int least, int most) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int> number(least, most);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(number(random));
  return values;
}

// Inputs that a matrix of this encoding can have.
int Whole(Encoding encoding, int inputs) {
  return encoding == Encoding::kInt4 ? (inputs + 31) / 32 * 32 : inputs;
}

// REQUIRES: inputs is whole.
Matrix RandomMatrix(Encoding encoding, int outputs, int inputs) {
  const int count = outputs * inputs, seed = outputs + inputs;
  switch (encoding) {
    case Encoding::kInt8:
      return Matrix(encoding, outputs, inputs, RandomNumbers(count, seed, -127, 127));
    case Encoding::kInt4:
      return Matrix(encoding, outputs, inputs, RandomNumbers(count, seed, -8, 7));
    case Encoding::kFp8: {
      std::vector<float> bytes = RandomNumbers(count, seed, 0, 255);
      for (float& byte : bytes) byte = std::fmod(byte, 128) == 127 ? 0 : byte;  // NaN
      return Matrix(encoding, outputs, inputs, bytes);
    }
    default:
      return Matrix(encoding, outputs, inputs, RandomValues(count, seed));
  }
}

std::vector<float> Product(const Context& context, const std::vector<float>& x, const Matrix& w) {
  const std::int64_t rows = std::ssize(x) / w.view().inputs;
  std::vector<float> y(rows * w.view().outputs, std::numeric_limits<float>::quiet_NaN());
  const Activations activations =
      MakeActivations(context, w.view().encoding, x.data(), rows, w.view().inputs);
  Multiply(context, activations, w.view(), y.data());
  return y;
}

float RowScale(const float* x, const Matrix& w) {
  float largest = 0;
  for (int i = 0; i < w.view().inputs; ++i) largest = std::max(largest, std::abs(x[i]));
  return std::max(largest, 1e-30f) / 127.f;
}

// One row times one output, as the bundle format defines int4 products.
float ExactInt4(const float* x, const Matrix& w, int output) {
  const float row_scale = RowScale(x, w);
  float sum = 0;
  for (int group = 0; group < w.view().inputs / 32; ++group) {
    std::int64_t exact = 0;
    for (int i = group * 32; i < (group + 1) * 32; ++i) {
      exact += std::lrint(x[i] / row_scale) * static_cast<std::int64_t>(w.value(output, i));
    }
    sum = std::fma(static_cast<float>(exact), w.group_scale(output, group), sum);
  }
  return sum * row_scale;
}

// The same for int8.
float ExactInt8(const float* x, const Matrix& w, int output) {
  const float row_scale = RowScale(x, w);
  std::int64_t sum = 0;
  for (int i = 0; i < w.view().inputs; ++i) {
    sum += std::lrint(x[i] / row_scale) * static_cast<std::int64_t>(w.value(output, i));
  }
  return static_cast<float>(sum) * row_scale * w.scale(output);
}

void ExpectProduct(const Context& context, const std::vector<float>& x, const Matrix& w) {
  const PackedMatrix& view = w.view();
  const std::vector<float> y = Product(context, x, w);
  for (int row = 0; row < std::ssize(x) / view.inputs; ++row) {
    const float* own = x.data() + row * view.inputs;
    for (int o = 0; o < view.outputs; ++o) {
      const float actual = y[row * view.outputs + o];
      if (view.encoding == Encoding::kInt8 || view.encoding == Encoding::kInt4) {
        ASSERT_EQ(actual, (view.encoding == Encoding::kInt8 ? ExactInt8 : ExactInt4)(own, w, o))
            << "row " << row << " output " << o;
        continue;
      }
      double sum = 0, magnitude = 0;
      const double scale = view.encoding == Encoding::kFp8 ? w.scale(o) : 1;
      for (int i = 0; i < view.inputs; ++i) {
        const float in = view.encoding == Encoding::kFloat32 ? own[i] : ToBfloat16(own[i]);
        const double product = in * scale * w.value(o, i);
        sum += product;
        magnitude += std::abs(product);
      }
      ASSERT_NEAR(actual, sum, 1e-6 * magnitude + 1e-30) << "row " << row << " output " << o;
    }
  }
}

class ProductTest : public ::testing::TestWithParam<Isa> {
 protected:
  Context Alone() const { return {GetParam(), nullptr}; }
};

INSTANTIATE_TEST_SUITE_P(EveryIsa, ProductTest, ::testing::ValuesIn(AvailableIsas()),
                         [](const auto& info) {
                           std::string name(IsaName(info.param));
                           std::erase(name, '-');
                           return name;
                         });

TEST_P(ProductTest, MatchesPlainLoopsForAllRowsAndOddDimensions) {
  for (const Encoding encoding : kEncodings) {
    for (const auto& [outputs, inputs] :
         {std::pair{1, 1}, {7, 5}, {64, 64}, {65, 63}, {112, 130}, {200, 577}}) {
      const int whole = Whole(encoding, inputs);
      const Matrix w = RandomMatrix(encoding, outputs, whole);
      for (const int rows : {1, 2, 3, 4, 5, 6, 7, 13, 33}) {
        ExpectProduct(Alone(), RandomValues(rows * whole, rows), w);
      }
    }
  }
}

TEST_P(ProductTest, LongSumsAreTakenInBlocks) {
  for (const Encoding encoding : kEncodings) {  // more steps than a block has
    const int inputs = Whole(encoding, 4103);
    const Matrix w = RandomMatrix(encoding, 70, inputs);
    ExpectProduct(Alone(), RandomValues(8 * inputs, 1), w);
  }
}

TEST_P(ProductTest, ManyRowsAreTakenInBlocks) {
  ThreadPool two(2);
  for (const Encoding encoding : kEncodings) {
    const Matrix w = RandomMatrix(encoding, 70, 4096);
    const std::vector<float> x = RandomValues(401 * 4096, 2);
    const std::vector<float> y = Product({GetParam(), &two}, x, w);
    for (const int first : {0, 190, 395}) {
      const std::vector<float> part(x.begin() + first * 4096, x.begin() + (first + 6) * 4096);
      EXPECT_THAT(Product(Alone(), part, w), ElementsAreArray(y.data() + first * 70, 6 * 70));
    }
  }
}

TEST_P(ProductTest, ExtremesStayExact) {
  constexpr int kInputs = 9216;
  for (const auto& [encoding, value] : {std::pair{Encoding::kInt8, -127.f},
                                        {Encoding::kInt8, 127.f},
                                        {Encoding::kInt4, -8.f},
                                        {Encoding::kInt4, 7.f}}) {
    const Matrix w(encoding, 64, kInputs, std::vector<float>(64 * kInputs, value));
    ExpectProduct(Alone(), std::vector<float>(7 * kInputs, -3.f), w);
    ExpectProduct(Alone(), std::vector<float>(7 * kInputs, 3.f), w);
    for (int rows = 1; rows <= 4; ++rows) {
      ExpectProduct(Alone(), std::vector<float>(rows * kInputs, -3.f), w);
      ExpectProduct(Alone(), std::vector<float>(rows * kInputs, 3.f), w);
    }
    ExpectProduct(Alone(), std::vector<float>(kInputs, 0.f), w);
    ExpectProduct(Alone(), std::vector<float>(kInputs, 1e-35f), w);
  }
}

TEST_P(ProductTest, ANanReachesItsOwnRowAndNoOther) {
  for (const Encoding encoding : kEncodings) {
    const Matrix w = RandomMatrix(encoding, 70, 96);
    std::vector<float> x = RandomValues(3 * 96, 3);
    const std::vector<float> clean = Product(Alone(), x, w);
    x[96 + 17] = std::numeric_limits<float>::quiet_NaN();
    const std::vector<float> y = Product(Alone(), x, w);
    for (int o = 0; o < 70; ++o) {
      EXPECT_TRUE(std::isnan(y[70 + o]));
      EXPECT_EQ(y[o], clean[o]);
      EXPECT_EQ(y[140 + o], clean[140 + o]);
    }
  }
}

// -128 is no value of a symmetric matrix. A damaged one must not answer otherwise in a batch.
TEST_P(ProductTest, TheLeastByteStaysExact) {
  constexpr int kInputs = 516;
  const Matrix w(Encoding::kInt8, 64, kInputs, std::vector<float>(64 * kInputs, -128.f));
  for (const int rows : {1, 2, 3, 4, 7}) {
    ExpectProduct(Alone(), std::vector<float>(rows * kInputs, -3.f), w);
    ExpectProduct(Alone(), std::vector<float>(rows * kInputs, 3.f), w);
  }
}

TEST_P(ProductTest, AnInfinityIsTheSameAloneAndInABatch) {
  for (const Encoding encoding : kEncodings) {
    const Matrix w = RandomMatrix(encoding, 70, 96);
    std::vector<float> x = RandomValues(7 * 96, 3);
    x[17] = -std::numeric_limits<float>::infinity();
    const std::vector<float> all = Product(Alone(), x, w);
    const std::vector<float> alone = Product(Alone(), {x.begin(), x.begin() + 96}, w);
    for (int o = 0; o < 70; ++o) {
      EXPECT_FALSE(std::isfinite(all[o]));
      EXPECT_EQ(std::isnan(alone[o]), std::isnan(all[o]));
      EXPECT_TRUE(std::isnan(all[o]) || alone[o] == all[o]);
    }
  }
}

TEST_P(ProductTest, ARowIsTheSameAloneInAnyBatchAndForAnyThreads) {
  std::mt19937 random(11);
  ThreadPool two(2), five(5);
  for (int round = 0; round < 20; ++round) {
    const Encoding encoding = kEncodings[round % std::size(kEncodings)];
    const int inputs = Whole(encoding, std::uniform_int_distribution<int>(1, 1500)(random));
    const int outputs = std::uniform_int_distribution<int>(1, 300)(random);
    const Matrix w = RandomMatrix(encoding, outputs, inputs);
    const std::vector<float> x = RandomValues(33 * inputs, round);
    const std::vector<float> all = Product(Alone(), x, w);
    EXPECT_THAT(Product({GetParam(), &two}, x, w), ElementsAreArray(all));
    EXPECT_THAT(Product({GetParam(), &five}, x, w), ElementsAreArray(all));
    for (int rows = 1; rows <= 33; ++rows) {
      const int first = std::uniform_int_distribution<int>(0, 33 - rows)(random);
      const std::vector<float> part(x.begin() + first * inputs,
                                    x.begin() + (first + rows) * inputs);
      const std::vector<float> y = Product({GetParam(), &two}, part, w);
      ASSERT_EQ(std::memcmp(y.data(), all.data() + first * outputs, y.size() * sizeof(float)), 0)
          << rows << " rows, " << inputs << " x " << outputs;
    }
  }
}

TEST(ProductTest, IntegersAreTheSameOnEveryInstructionSet) {
  for (const Encoding encoding : {Encoding::kInt8, Encoding::kInt4}) {
    const Matrix w = RandomMatrix(encoding, 130, 992);
    const std::vector<float> x = RandomValues(19 * 992, 5);
    std::vector<std::vector<float>> results;
    for (const Isa isa : AvailableIsas()) results.push_back(Product({isa, nullptr}, x, w));
    for (const auto& result : results) EXPECT_THAT(result, ElementsAreArray(results.front()));
  }
}

// Returns a hash of the values' bits (FNV-1a).
std::uint64_t HashOf(const std::vector<float>& values) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const float value : values) {
    hash = (hash ^ std::bit_cast<std::uint32_t>(value)) * 0x100000001b3;
  }
  return hash;
}

// The hashes are those of x86. Inputs are whole numbers of sixty-fourths, so that no mathematical
// library has a part in them.
TEST_P(ProductTest, IntegersAreTheSameOnEveryArchitecture) {
  for (const auto& [encoding, hash] : {std::pair{Encoding::kInt8, 9512135048133228266ull},
                                       {Encoding::kInt4, 6143181644960164346ull}}) {
    const Matrix w = RandomMatrix(encoding, 130, 992);
    std::vector<float> x = RandomNumbers(19 * 992, 5, -9999, 9999);
    for (float& value : x) value /= 64;
    EXPECT_EQ(HashOf(Product(Alone(), x, w)), hash);
  }
}

// A row that names one input reads the matrix's values as they are.
TEST_P(ProductTest, EveryFp8ValueIsDecodedExactly) {
  std::vector<float> bytes(256 * 4);
  for (int i = 0; i < 256 * 4; ++i) bytes[i] = static_cast<float>(i / 4 % 128 == 127 ? 0 : i / 4);
  const Matrix w(Encoding::kFp8, 256, 4, bytes);
  for (int input = 0; input < 4; ++input) {
    std::vector<float> x(4, 0.f);
    x[input] = 1;
    const std::vector<float> y = Product(Alone(), x, w);
    for (int o = 0; o < 256; ++o) EXPECT_EQ(y[o], w.value(o, input) * w.scale(o)) << o;
  }
}

TEST(PackedMatrixTest, UnpacksWhatItPacked) {
  for (const Encoding encoding : kEncodings) {
    const int inputs = Whole(encoding, 35);
    const Matrix w = RandomMatrix(encoding, 67, inputs);
    std::vector<float> row(inputs);
    for (const int output : {0, 1, 63, 64, 66}) {
      UnpackRow(w.view(), output, row.data());
      for (int i = 0; i < inputs; ++i) {
        const float scale = encoding == Encoding::kInt4 ? w.group_scale(output, i / 32) : 1;
        EXPECT_EQ(row[i], w.value(output, i) * scale);
      }
    }
  }
}

}  // namespace
}  // namespace paligemma::cpu
