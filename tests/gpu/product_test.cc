// SPDX-License-Identifier: Apache-2.0
// Products against loops, and a row's bits in any batch.
#include "device_memory.h"

namespace paligemma::gpu {
namespace {

// A matrix and rows for it, in one type, and what the product must give.
struct ProductCase {
  ProductCase(Type type, int rows, int outputs, int inputs, int splits = 0)
      : type(type),
        rows(rows),
        outputs(outputs),
        inputs(inputs),
        splits(splits > 0 ? splits : SkinnySplits(type, outputs, inputs)) {
    Values values;
    const bool int8 = type == Type::kInt8;
    const std::vector<char> canonical =
        Encode(type, values.Normal(std::size_t(outputs) * inputs, int8 ? 40 : 0.05f));
    x = Encode(type, values.Normal(std::size_t(rows) * inputs, int8 ? 40 : 1));
    for (int i = 0; i < rows; ++i) x_scale.push_back(0.01f * (i + 1));
    for (int i = 0; i < outputs; ++i) w_scale.push_back(0.02f + 0.001f * (i % 7));
    packed = canonical;
    if (type != Type::kFloat32) {
      packed.resize(PackedBytes(type, outputs, inputs));
      PackPanels(type, canonical.data(), outputs, inputs, 0, PanelsOf(outputs), packed.data());
    }
    const std::vector<float> w = Decode(type, canonical), own = Decode(type, x);
    for (int row = 0; row < rows; ++row) {
      for (int output = 0; output < outputs; ++output) {
        double sum = 0;
        for (int i = 0; i < inputs; ++i) {
          sum += double(own[std::size_t(row) * inputs + i]) * w[std::size_t(output) * inputs + i];
        }
        wanted.push_back(sum);
      }
    }
  }

  // Rows [first, first + count) alone.
  std::vector<float> Run(int first, int count, bool many = false) const {
    const std::size_t row_bytes = std::size_t(inputs) * SizeOf(type);
    const DeviceMemory<char> w(packed),
        some(std::vector<char>(x.begin() + first * row_bytes,
                               x.begin() + (first + count) * row_bytes));
    const DeviceMemory<float> scales(w_scale),
        row_scales(std::vector<float>(x_scale.begin() + first, x_scale.begin() + first + count));
    DeviceMemory<float> y(std::size_t(count) * outputs);
    const ProductWorkspace workspace = SkinnyWorkspace(type, count, outputs, splits);
    DeviceMemory<char> partial(workspace.partial_bytes);
    DeviceMemory<unsigned> arrived(workspace.counters);
    arrived.Fill(0);
    const ProductRows view{type, const_cast<char*>(some.get()), row_scales.get()};
    EXPECT_RUNS((many ? Gemm : SkinnyProduct)({view, w.get(), scales.get(), y.get(), partial.get(),
                                               arrived.get(), count, outputs, inputs, splits},
                                              nullptr));
    for (const unsigned counter : arrived.ToHost()) EXPECT_EQ(counter, 0u);
    return y.ToHost();
  }

  const Type type;
  const int rows, outputs, inputs, splits;
  std::vector<char> x, packed;
  std::vector<float> x_scale, w_scale;
  std::vector<double> wanted;  // sums without scales
};

void ExpectRight(const ProductCase& c, bool many = false) {
  const std::vector<float> got = c.Run(0, c.rows, many);
  if (c.type != Type::kInt8) {
    EXPECT_LT(RelativeError(got, c.wanted), 1e-5);
    return;
  }
  // Sums of integers are exact, and the scales follow in one order: the bits are the CPU's.
  for (std::size_t i = 0; i < got.size(); ++i) {
    const float wanted =
        static_cast<float>(c.wanted[i]) * c.x_scale[i / c.outputs] * c.w_scale[i % c.outputs];
    ASSERT_EQ(got[i], wanted) << i;
  }
}

// Odd numbers of outputs, inputs that do not fill a tile, one part and several.
TEST(SkinnyTest, MultipliesInEveryTypeAndShape) {
  for (const Type type : kTypes) {
    for (const auto& [rows, outputs, inputs] :
         {std::tuple{1, 64, 64}, {3, 100, 112}, {9, 130, 1040}, {17, 65, 592}}) {
      SCOPED_TRACE(std::string(NameOf(type)) + " " + std::to_string(rows) + " x " +
                   std::to_string(outputs) + " x " + std::to_string(inputs));
      const ProductCase c(type, rows, outputs, inputs);
      InEveryOrder([&] { ExpectRight(c); });
    }
  }
}

// More tiles in a part than lie in shared memory at once.
TEST(SkinnyTest, BringsTheRowsOfLongPartsInStages) {
  for (const Type type : {Type::kBfloat16, Type::kInt8}) {
    const ProductCase c(type, 5, 64, 19 * kTileRowBytes / SizeOf(type), 1);
    InEveryOrder([&] { ExpectRight(c); });
  }
}

TEST(SkinnyTest, ARowHasTheSameBitsInEveryBatch) {
  for (const Type type : kTypes) {
    SCOPED_TRACE(NameOf(type));
    const int outputs = 72, inputs = 1040;
    ASSERT_TRUE(type == Type::kFloat32 || SkinnySplits(type, outputs, inputs) > 1);
    const ProductCase c(type, 70, outputs, inputs);
    const std::vector<float> all = c.Run(0, c.rows);
    ExpectRight(c);
    for (const auto& [first, count] :
         {std::pair{0, 1}, {69, 1}, {5, 8}, {3, 9}, {1, 16}, {2, 33}, {0, 64}, {5, 65}}) {
      const std::vector<float> some = c.Run(first, count);
      EXPECT_TRUE(SameBits(some, {all.begin() + std::size_t(first) * outputs,
                                  all.begin() + std::size_t(first + count) * outputs}))
          << first << " " << count;
    }
  }
}

TEST(SkinnyTest, ARowHasTheSameBitsInEveryOrderOfBlocks) {
  for (const Type type : kTypes) {
    const ProductCase c(type, 5, 130, 1040);
    const std::vector<float> first = c.Run(0, 5);
    InEveryOrder([&] { EXPECT_TRUE(SameBits(c.Run(0, 5), first)); });
  }
}

TEST(SkinnyTest, ThePartsDependOnTheMatrixAlone) {
  // The matrices of the 3B model: enough blocks to fill the chip, or no split at all.
  for (const auto& [outputs, inputs] :
       {std::pair{4096, 2304}, {2304, 2048}, {18432, 2304}, {2304, 9216}, {257152, 2304}}) {
    for (const Type type : {Type::kBfloat16, Type::kInt8}) {
      const int splits = SkinnySplits(type, outputs, inputs),
                steps = StepsOf(inputs * SizeOf(type));
      EXPECT_GE(steps / splits, 4);
      EXPECT_TRUE(PanelsOf(outputs) * splits >= 132) << outputs << " " << inputs;
    }
  }
}

TEST(SkinnyTest, RefusesWhatItCannotTake) {
  ProductArguments arguments{};
  arguments.x.type = Type::kBfloat16;
  arguments.rows = 1;
  arguments.outputs = 64;
  arguments.inputs = 65;
  arguments.splits = 1;
  EXPECT_NE(SkinnyProduct(arguments, nullptr), cudaSuccess);
  arguments.inputs = 128;
  for (const int splits : {0, 3}) {
    arguments.splits = splits;
    EXPECT_NE(SkinnyProduct(arguments, nullptr), cudaSuccess);
  }
}

TEST(GemmTest, MultipliesInEveryTypeAndShape) {
  for (const Type type : kTypes) {
    for (const auto& [rows, outputs, inputs] :
         {std::tuple{130, 72, 112}, {1, 64, 64}, {33, 100, 592}, {128, 64, 528}}) {
      SCOPED_TRACE(std::string(NameOf(type)) + " " + std::to_string(rows) + " x " +
                   std::to_string(outputs) + " x " + std::to_string(inputs));
      const ProductCase c(type, rows, outputs, inputs);
      InEveryOrder([&] { ExpectRight(c, true); });
    }
  }
}

TEST(GemmTest, ARowHasTheSameBitsInEveryBatch) {
  for (const Type type : kTypes) {
    const int outputs = 72;
    const ProductCase c(type, 140, outputs, 304);
    const std::vector<float> all = c.Run(0, c.rows, true);
    for (const auto& [first, count] : {std::pair{0, 1}, {139, 1}, {5, 20}, {3, 128}, {1, 129}}) {
      EXPECT_TRUE(
          SameBits(c.Run(first, count, true), {all.begin() + std::size_t(first) * outputs,
                                               all.begin() + std::size_t(first + count) * outputs}))
          << NameOf(type) << " " << first << " " << count;
    }
  }
}

TEST(PackingTest, EveryByteHasItsPlaceAndTheRestIsZero) {
  const int outputs = 70, inputs = 100;
  const Type type = Type::kInt8;
  std::vector<char> canonical(outputs * inputs);
  for (std::size_t i = 0; i < canonical.size(); ++i) canonical[i] = char(i % 127 + 1);
  std::vector<char> packed(PackedBytes(type, outputs, inputs), 'x');
  for (int panel = 0; panel < PanelsOf(outputs); ++panel) {
    PackPanels(type, canonical.data(), outputs, inputs, panel, panel + 1, packed.data());
  }
  std::size_t zeros = 0;
  for (const char byte : packed) zeros += byte == 0;
  EXPECT_EQ(zeros, packed.size() - canonical.size());
  for (int output = 0; output < outputs; ++output) {
    for (int i = 0; i < inputs; ++i) {
      ASSERT_EQ(packed[PackedOffset(output, i, StepsOf(inputs))], canonical[output * inputs + i]);
    }
  }
}

}  // namespace
}  // namespace paligemma::gpu
