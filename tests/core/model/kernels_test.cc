// SPDX-License-Identifier: Apache-2.0
// The reference kernels against plain loops in double, and the properties that serving rests on.
#include "core/model/ops/kernels.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>

#include "core/model/ops/library.h"
#include "core/model/ops/linear.h"
#include "core/model/ops/packed.h"
#include "tests/core/model/matrices.h"

namespace paligemma::ops {
namespace {

using ::testing::HasSubstr;

Tensor None() { return at::zeros({0}); }

// A product with a canonical matrix.
Tensor Times(const Tensor& x, const Tensor& w, const Tensor& scale = None()) {
  const PackedTensors canonical = Canonical(w, scale);
  return Linear(x, canonical.View());
}

double MaxDifference(const Tensor& a, const Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

std::vector<float> Values(const Tensor& t) {
  const Tensor c = t.contiguous();
  return {c.const_data_ptr<float>(), c.const_data_ptr<float>() + c.numel()};
}

TEST(KernelsTest, NormCapAndRopeGiveTheReferenceNumbers) {
  EXPECT_THAT(Values(RmsNorm(at::tensor({1.f, -2.f, 3.f, -4.f}).view({1, 4}),
                             at::tensor({0.f, .5f, -.5f, 1.f}), 1e-6)),
              ::testing::Pointwise(::testing::FloatNear(1e-6f),
                                   {0.3651483f, -1.0954450f, 0.5477225f, -2.9211868f}));
  const Tensor one = at::ones({1, 1});
  const PackedTensors table = Canonical(one);
  EXPECT_NEAR(logits({at::full({1, 1}, 100.f), table.View(), 1, 50}).item<float>(), 48.2013790,
              1e-5);
  EXPECT_NEAR(logits({at::full({1, 1}, 30.f), table.View(), 1, 30}).item<float>(), 22.8478247,
              1e-5);
  const Tensor angles = rope({at::tensor({3}, at::kInt), 4, 10000.0});
  const std::vector<float> expected = {std::cos(3.f), std::cos(.03f), std::sin(3.f),
                                       std::sin(.03f)};
  EXPECT_THAT(Values(angles), ::testing::Pointwise(::testing::FloatNear(1e-7f), expected));
}

TEST(KernelsTest, FloatProductsMatchDouble) {
  const Tensor x = at::randn({5, 70}), w = at::randn({33, 70});
  const Tensor exact = x.to(at::kDouble).mm(w.to(at::kDouble).t());
  EXPECT_LT(MaxDifference(Times(x, w), exact), 1e-4);
  const Tensor half = w.to(at::kBFloat16);
  EXPECT_LT(MaxDifference(Times(x, half), x.to(at::kDouble).mm(half.to(at::kDouble).t())), 1e-4);
  const Tensor fp8 = w.to(at::kFloat8_e4m3fn), scale = at::randn({33}).abs();
  EXPECT_LT(MaxDifference(Times(x, fp8, scale),
                          x.to(at::kDouble).mm(fp8.to(at::kFloat).to(at::kDouble).t()) * scale),
            1e-3);
}

TEST(KernelsTest, Int8ProductsAreExact) {
  const Tensor x = at::randn({5, 2304}) * 3, scale = at::randn({40}).abs();
  const Tensor w = at::randint(-127, 128, {40, 2304}, at::kChar);
  const Tensor row_scale = x.abs().amax(-1, true) / 127.0;
  const Tensor q = (x / row_scale).round().to(at::kLong);
  const Tensor sum = (q.unsqueeze(1) * w.to(at::kLong).unsqueeze(0)).sum(-1);
  const Tensor expected = sum.to(at::kFloat) * row_scale * scale;
  EXPECT_TRUE(at::equal(Times(x, w, scale), expected));
}

TEST(KernelsTest, Int4ProductsSumGroupsInOrder) {
  const Tensor x = at::randn({3, 128}), scale = at::randn({10, 4}).abs();
  const Tensor w = at::randint(-8, 8, {10, 128}, at::kLong);
  const Tensor packed =
      ((w.slice(1, 0, 128, 2) + 8) + (w.slice(1, 1, 128, 2) + 8) * 16).to(at::kByte);
  const Tensor row_scale = x.abs().amax(-1, true) / 127.0;
  const Tensor q = (x / row_scale).round().to(at::kLong);
  Tensor sum = at::zeros({3, 10});
  for (int g = 0; g < 4; ++g) {
    const Tensor own = (q.narrow(1, g * 32, 32).unsqueeze(1) * w.narrow(1, g * 32, 32)).sum(-1);
    sum += own.to(at::kFloat) * scale.select(1, g);
  }
  EXPECT_TRUE(at::equal(Times(x, packed, scale), sum * row_scale));
}

// A matrix in the order of the CPU kernels gives what the canonical one gives.
TEST(KernelsTest, PackedProductsMatchCanonicalOnes) {
  for (const auto isa : cpu::AvailableIsas()) {
    cpu::ThreadPool pool(2);
    const cpu::Context context{isa, &pool};
    const cpu::ContextScope scope(context);
    const Tensor x = at::randn({7, 135}), scale = at::rand({150});
    const Tensor whole = at::randint(-127, 128, {150, 135}, at::kChar);
    const PackedTensors bytes = Packed(context, whole, scale);
    EXPECT_TRUE(at::equal(Linear(x, bytes.View()), Times(x, whole, scale)));
    const Tensor halves = at::randint(0, 256, {150, 64}, at::kByte), wide = at::randn({7, 128});
    const Tensor scales = at::randn({150, 4}).to(at::kBFloat16);
    const PackedTensors small = Packed(context, halves, scales);
    // A group's sum and its scale are multiplied and added in one rounding or in two.
    EXPECT_LT(MaxDifference(Linear(wide, small.View()), Times(wide, halves, scales)), 1e-4);
    for (const auto type : {at::kFloat, at::kBFloat16}) {
      const Tensor w = at::randn({150, 135}).to(type);
      const PackedTensors packed = Packed(context, w, None());
      // With bfloat16 weights activations are rounded to bfloat16 as well.
      const Tensor rounded = x.to(type).to(at::kFloat);
      EXPECT_LT(MaxDifference(Linear(x, packed.View()), Times(rounded, w)), 1e-4);
    }
  }
}

TEST(KernelsTest, EmbedReadsPackedTables) {
  const cpu::Context context{cpu::DetectIsa(), nullptr};
  const Tensor ids = at::tensor({2, -3, 69, 0}, at::kInt), images = at::randn({3, 5});
  const Tensor scale = at::rand({70});
  for (const auto type : {at::kFloat, at::kBFloat16, at::kChar, at::kFloat8_e4m3fn}) {
    const Tensor table = (at::randn({70, 5}) * 20).to(type);
    const Tensor own = type == at::kChar || type == at::kFloat8_e4m3fn ? scale : None();
    const PackedTensors packed = Packed(context, table, own);
    EXPECT_TRUE(at::equal(embed({ids, images, packed.View(), 2.5, 70}),
                          embed({ids, images, Canonical(table, own).View(), 2.5, 70})));
  }
}

TEST(KernelsTest, RefusesPackedMatricesThatDoNotFit) {
  const PackedTensors packed = Packed({cpu::DetectIsa(), nullptr}, at::randn({70, 5}), None());
  EXPECT_THROW(Linear(at::randn({1, 6}), packed.View()), c10::Error);
  EXPECT_THROW(Linear(at::randn({1, 5}), {packed.data, packed.scale, None()}), c10::Error);
  const PackedTensors bytes =
      Packed({cpu::DetectIsa(), nullptr}, at::ones({70, 5}).to(at::kChar), None());
  EXPECT_THROW(Linear(at::randn({1, 5}), {bytes.data, at::rand({69}), bytes.aux}), c10::Error);
}

// What the bytes mean is said beside them: neither the type nor the number of dimensions tells.
TEST(KernelsTest, RefusesMatricesThatAreNotDescribedOrStoredOtherwise) {
  const Tensor x = at::randn({1, 8}), bytes = at::randint(0, 256, {6, 4}, at::kByte);
  const Tensor scale = at::rand({6, 1});
  EXPECT_THROW(Linear(x, {bytes, scale, None()}), c10::Error);
  EXPECT_NO_THROW(Linear(x, Canonical(bytes, scale).View()));
  const Tensor aux = MakeAux({Encoding::kInt8, Layout::kCanonical, 6, 4});
  EXPECT_THROW(Linear(x, {bytes, scale, aux}), c10::Error);
}

TEST(KernelsTest, EncodingsHaveOneNameAndOneTypeEach) {
  for (const char* name : {"float32", "bfloat16", "int8", "int4", "fp8"}) {
    const auto encoding = EncodingNamed(name);
    ASSERT_TRUE(encoding.has_value()) << name;
    EXPECT_EQ(EncodingStoredAs(TypeOf(*encoding)), encoding);
  }
  EXPECT_FALSE(EncodingNamed("float64").has_value());
  EXPECT_FALSE(EncodingStoredAs(at::kDouble).has_value());
}

TEST(KernelsTest, WideMatricesAreTakenInSlabs) {
  const Tensor x = at::randn({2, 2048}), w = at::randn({1100, 2048}).to(at::kBFloat16);
  EXPECT_LT(MaxDifference(Times(x, w), x.mm(w.to(at::kFloat).t())), 1e-3);
}

// What lets a request have the same tokens in every batch.
TEST(KernelsTest, ARowOfAProductDoesNotDependOnTheOthers) {
  for (const auto& [inner, outer] :
       std::vector<std::pair<int, int>>{{2304, 512}, {64, 112}, {40, 7}}) {
    const Tensor x = at::randn({300, inner}), w = at::randn({outer, inner});
    const Tensor all = Times(x, w);
    for (const int count : {1, 2, 3, 7, 8, 9, 33, 257}) {
      for (const int first : {0, 1, 5}) {
        EXPECT_TRUE(at::equal(Times(x.narrow(0, first, count), w), all.narrow(0, first, count)))
            << inner << " " << outer << " " << first << " " << count;
      }
    }
  }
}

TEST(KernelsTest, EmbedScalesTokensAndCopiesImageRows) {
  const Tensor table = at::randn({6, 4}), images = at::randn({3, 4});
  const Tensor rows = embed({at::tensor({2, -3}, at::kInt), images, Canonical(table).View(), 8, 6});
  EXPECT_TRUE(at::equal(rows[0], table[2] * 8));
  EXPECT_TRUE(at::equal(rows[1], images[2]));
}

TEST(KernelsTest, LoraTouchesOnlyRowsWithAnAdapter) {
  const Tensor x = at::randn({3, 6}), a = at::randn({2, 2, 2, 6}), b = at::randn({2, 5, 2});
  const Tensor update = Lora(x, a, b, at::tensor({1, -1, 0}, at::kInt), {0, 3, 5});
  EXPECT_EQ(update[1].abs().max().item<float>(), 0);
  const Tensor expected =
      at::cat({b[1].slice(0, 0, 3).mv(a[1][0].mv(x[0])), b[1].slice(0, 3, 5).mv(a[1][1].mv(x[0]))});
  EXPECT_LT(MaxDifference(update[0], expected), 1e-5);
}

// One attention layer with weights that project to q, k, v of a known shape.
struct Layer {
  static constexpr int kHidden = 16, kHeads = 4, kKvHeads = 2, kDim = 8, kBlock = 4;
  Tensor qkv = at::randn({(kHeads + 2 * kKvHeads) * kDim, kHidden});
  Tensor out = at::randn({kHidden, kHeads*kDim}), norm = at::randn({kHidden});
  Tensor kv = at::full({1, 2, 6, kKvHeads, kBlock, kDim}, NAN), kv_scale = None();

  Tensor Run(const Tensor& h, const std::vector<int>& positions, const std::vector<int>& slots,
             std::vector<std::int64_t> lengths, const Tensor& table,
             const std::vector<int>& context, int window = 0) {
    const Tensor angles = rope({at::tensor(positions, at::kInt), kDim, 10000});
    const PackedTensors in = Canonical(qkv), back = Canonical(out);
    return std::get<1>(attention({{h, None(), None()},
                                  norm,
                                  in.View(),
                                  back.View(),
                                  angles,
                                  kv,
                                  kv_scale,
                                  at::tensor(slots, at::kInt),
                                  at::zeros({1}, at::kInt),
                                  lengths,
                                  table,
                                  at::tensor(context, at::kInt),
                                  None(),
                                  {TensorList(), None()},
                                  0,
                                  kHeads,
                                  kKvHeads,
                                  kDim,
                                  1e-6,
                                  0.3,
                                  50,
                                  window}));
  }
};

TEST(KernelsTest, ACachedRowEqualsTheLastRowOfItsPrompt) {
  for (const auto type : {at::kFloat, at::kBFloat16, at::kChar, at::kFloat8_e4m3fn}) {
    Layer layer;
    layer.kv = at::zeros({1, 2, 6, 2, 4, 8}).to(type);
    if (type == at::kChar || type == at::kFloat8_e4m3fn) {
      layer.kv_scale = at::zeros({1, 2, 6, 2, 4});
    }
    layer.qkv = layer.qkv * 0.2;
    const Tensor h = at::randn({6, Layer::kHidden});
    const Tensor no_table = at::zeros({0, 0}, at::kInt);
    const Tensor all = layer.Run(h, {0, 1, 2, 3, 4, 5}, {8, 9, 10, 11, 4, 5}, {6}, no_table, {});
    const Tensor last =
        layer.Run(h.slice(0, 5), {5}, {5}, {}, at::tensor({2, 1, 0}, at::kInt).view({1, 3}), {6});
    const bool scaled = layer.kv_scale.numel() > 0;
    const double tolerance = (scaled ? 0.1 : 1e-4) * all[5].abs().max().item<double>();
    EXPECT_LT(MaxDifference(all[5], last[0]), tolerance) << type;
  }
}

TEST(KernelsTest, UnwrittenSlotsPaddingRowsAndWindowsDoNoHarm) {
  Layer layer;  // pages full of NaN
  const Tensor h = at::randn({4, Layer::kHidden});
  const Tensor table = at::tensor({1, 3, 0, 0}, at::kInt).view({2, 2});
  layer.Run(h, {0, 1, 2, 3}, {4, 5, 6, 7}, {4}, at::zeros({0, 0}, at::kInt), {});
  const Tensor next = at::randn({1, Layer::kHidden});
  const Tensor rows = at::cat({next, next});
  const Tensor y = layer.Run(rows, {4, 0}, {12, -1}, {}, table, {5, 0});
  EXPECT_TRUE(std::isfinite(y.abs().max().item<float>()));
  EXPECT_EQ(y[1].abs().max().item<float>(), 0);
  const Tensor whole = layer.Run(rows, {4, 0}, {12, -1}, {}, table, {5, 0}, 5);
  EXPECT_TRUE(at::equal(whole, y));
  const Tensor cut = layer.Run(rows, {4, 0}, {12, -1}, {}, table, {5, 0}, 1);
  EXPECT_FALSE(at::equal(cut[0], y[0]));
}

TEST(KernelsTest, CopiesBlocksOfEveryType) {
  for (const auto type : {at::kFloat, at::kBFloat16, at::kChar, at::kFloat8_e4m3fn}) {
    const Tensor kv = at::randn({2, 2, 4, 2, 3, 5}).mul(10).to(type);
    copy_blocks({kv, None(), at::tensor({1}, at::kInt), at::tensor({3}, at::kInt)});
    EXPECT_TRUE(at::equal(kv.select(2, 1).to(at::kFloat), kv.select(2, 3).to(at::kFloat)));
  }
}

TEST(OperatorLibraryTest, RefusesUnknownAndChangedSchemas) {
  EXPECT_TRUE(CheckSchemas({"rope(Tensor positions, int head_dim, float theta) -> Tensor"}).ok());
  EXPECT_THAT(CheckSchemas({"hop(Tensor a) -> Tensor"}).message(), HasSubstr("paligemma::hop is"));
  EXPECT_THAT(
      CheckSchemas({"rope(Tensor positions, float theta, int head_dim) -> Tensor"}).message(),
      HasSubstr("another schema"));
  EXPECT_THAT(CheckSchemas({"copy_blocks(Tensor kv, Tensor kv_scale, Tensor source, Tensor target) "
                            "-> ()"})
                  .message(),
              HasSubstr("another schema"));
  EXPECT_THAT(CheckSchemas({"no schema"}).message(), HasSubstr("not an operator schema"));
}

}  // namespace
}  // namespace paligemma::ops
