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

constexpr Encoding kEncodings[] = {Encoding::kFloat32, Encoding::kBfloat16, Encoding::kInt8};

// As the reference rounds: to nearest, ties to even.
float ToBfloat16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return std::bit_cast<float>((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u);
}

// A matrix with the memory that it views.
class Matrix {
 public:
  // `values`: [outputs * inputs], whole numbers from -127 to 127 for int8.
  Matrix(Encoding encoding, int outputs, int inputs, const std::vector<float>& values)
      : values_(values),
        words_(NumPanels(outputs) * NumSteps(encoding, inputs) * kPanel),
        sums_(NumPanels(outputs) * kPanel) {
    std::mt19937 random(outputs);
    for (int o = 0; o < outputs; ++o) {
      scale_.push_back(std::uniform_real_distribution<float>(0.01f, 2)(random));
    }
    const std::vector<std::uint8_t> source = Stored(encoding);
    for (int panel = 0; panel < NumPanels(outputs); ++panel) {
      PackPanel(encoding, source.data(), outputs, inputs, panel, words_.data(), sums_.data());
    }
    view_ = {encoding, outputs, inputs, words_.data(), scale_.data(), sums_.data()};
  }

  const PackedMatrix& view() const { return view_; }
  float value(int output, int input) const { return values_[output * view_.inputs + input]; }
  float scale(int output) const { return scale_[output]; }

 private:
  // Rounds values_ to the encoding and returns them as it stores them.
  std::vector<std::uint8_t> Stored(Encoding encoding) {
    std::vector<std::uint8_t> bytes;
    for (float& value : values_) {
      if (encoding == Encoding::kInt8) {
        bytes.push_back(static_cast<std::uint8_t>(static_cast<std::int8_t>(value)));
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
  PackedMatrix view_;
};

std::vector<float> RandomValues(int count, int seed, bool whole) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::uniform_int_distribution<int> bytes(-127, 127);
  std::vector<float> values(count);
  for (float& value : values) {
    value = whole ? static_cast<float>(bytes(random)) : normal(random);
  }
  return values;
}

Matrix RandomMatrix(Encoding encoding, int outputs, int inputs) {
  return Matrix(encoding, outputs, inputs,
                RandomValues(outputs * inputs, outputs + inputs, encoding == Encoding::kInt8));
}

std::vector<float> Product(const Context& context, const std::vector<float>& x, const Matrix& w) {
  const std::int64_t rows = std::ssize(x) / w.view().inputs;
  std::vector<float> y(rows * w.view().outputs, std::numeric_limits<float>::quiet_NaN());
  const Activations activations =
      MakeActivations(context, w.view().encoding, x.data(), rows, w.view().inputs);
  Multiply(context, activations, w.view(), y.data());
  return y;
}

// One row times one output, as the bundle format defines int8 products.
float ExactInt8(const float* x, const Matrix& w, int output) {
  float largest = 0;
  for (int i = 0; i < w.view().inputs; ++i) largest = std::max(largest, std::abs(x[i]));
  const float row_scale = std::max(largest, 1e-30f) / 127.f;
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
      if (view.encoding == Encoding::kInt8) {
        ASSERT_EQ(actual, ExactInt8(own, w, o)) << "row " << row << " output " << o;
        continue;
      }
      double sum = 0, magnitude = 0;
      for (int i = 0; i < view.inputs; ++i) {
        const float in = view.encoding == Encoding::kBfloat16 ? ToBfloat16(own[i]) : own[i];
        const double product = static_cast<double>(in) * w.value(o, i);
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
      const Matrix w = RandomMatrix(encoding, outputs, inputs);
      for (const int rows : {1, 2, 3, 4, 5, 6, 7, 13, 33}) {
        ExpectProduct(Alone(), RandomValues(rows * inputs, rows, false), w);
      }
    }
  }
}

TEST_P(ProductTest, LongSumsAreTakenInBlocks) {
  for (const Encoding encoding : kEncodings) {  // more steps than a block has
    const Matrix w = RandomMatrix(encoding, 70, 4103);
    ExpectProduct(Alone(), RandomValues(8 * 4103, 1, false), w);
  }
}

TEST_P(ProductTest, ExtremesStayExact) {
  constexpr int kInputs = 9216;
  for (const float sign : {-127.f, 127.f}) {
    const Matrix w(Encoding::kInt8, 64, kInputs, std::vector<float>(64 * kInputs, sign));
    ExpectProduct(Alone(), std::vector<float>(7 * kInputs, -3.f), w);
    ExpectProduct(Alone(), std::vector<float>(7 * kInputs, 3.f), w);
    ExpectProduct(Alone(), std::vector<float>(kInputs, 0.f), w);
    ExpectProduct(Alone(), std::vector<float>(kInputs, 1e-35f), w);
  }
}

TEST_P(ProductTest, ANanReachesItsOwnRowAndNoOther) {
  for (const Encoding encoding : kEncodings) {
    const Matrix w = RandomMatrix(encoding, 70, 40);
    std::vector<float> x = RandomValues(3 * 40, 3, false);
    const std::vector<float> clean = Product(Alone(), x, w);
    x[40 + 17] = std::numeric_limits<float>::quiet_NaN();
    const std::vector<float> y = Product(Alone(), x, w);
    for (int o = 0; o < 70; ++o) {
      EXPECT_TRUE(std::isnan(y[70 + o]));
      EXPECT_EQ(y[o], clean[o]);
      EXPECT_EQ(y[140 + o], clean[140 + o]);
    }
  }
}

TEST_P(ProductTest, ARowIsTheSameAloneInAnyBatchAndForAnyThreads) {
  std::mt19937 random(11);
  ThreadPool two(2), five(5);
  for (int round = 0; round < 12; ++round) {
    const Encoding encoding = kEncodings[round % 3];
    const int inputs = std::uniform_int_distribution<int>(1, 1500)(random);
    const int outputs = std::uniform_int_distribution<int>(1, 300)(random);
    const Matrix w = RandomMatrix(encoding, outputs, inputs);
    const std::vector<float> x = RandomValues(33 * inputs, round, false);
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

TEST(ProductTest, Int8IsTheSameOnEveryInstructionSet) {
  const Matrix w = RandomMatrix(Encoding::kInt8, 130, 999);
  const std::vector<float> x = RandomValues(9 * 999, 5, false);
  std::vector<std::vector<float>> results;
  for (const Isa isa : AvailableIsas()) results.push_back(Product({isa, nullptr}, x, w));
  for (const auto& result : results) EXPECT_THAT(result, ElementsAreArray(results.front()));
}

TEST(PackedMatrixTest, UnpacksWhatItPacked) {
  for (const Encoding encoding : kEncodings) {
    const Matrix w = RandomMatrix(encoding, 67, 35);
    std::vector<float> row(35);
    for (const int output : {0, 1, 63, 64, 66}) {
      UnpackRow(w.view(), output, row.data());
      for (int i = 0; i < 35; ++i) EXPECT_EQ(row[i], w.value(output, i));
    }
  }
}

}  // namespace
}  // namespace paligemma::cpu
