// SPDX-License-Identifier: Apache-2.0
// The operators on CPU kernels with packed matrices against the reference kernels with canonical
// ones, for steps of every make-up.
#include "core/model/ops/cpu_kernels.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/round.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>

#include <limits>

#include "core/model/ops/layer_pages.h"
#include "core/model/ops/packed.h"
#include "tests/core/model/matrices.h"

namespace paligemma::ops {
namespace {

Tensor None() { return at::zeros({0}); }

// max |a - b| over max |b|
double Difference(const Tensor& a, const Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

constexpr at::ScalarType kTypes[] = {at::kFloat, at::kBFloat16, at::kChar, at::kByte,
                                     at::kFloat8_e4m3fn};

// A matrix in both forms; kByte is int4 and needs a multiple of 32 inputs.
struct TwoForms {
  TwoForms(std::int64_t outputs, std::int64_t inputs, at::ScalarType type)
      : data(type == at::kChar   ? at::randint(-127, 128, {outputs, inputs}, type)
             : type == at::kByte ? at::randint(0, 256, {outputs, inputs / 2}, type)
                                 : (at::randn({outputs, inputs}) * 0.3).to(type)),
        scale(type == at::kChar   ? at::rand({outputs}) * 0.01
              : type == at::kByte ? (at::randn({outputs, inputs / 32}) * 0.1).to(at::kBFloat16)
              : type == at::kFloat8_e4m3fn ? at::rand({outputs})
                                           : None()),
        canonical(Canonical(data, scale)),
        packed(Packed(cpu::CurrentContext(), data, scale)) {}
  const PackedTensors& In(bool is_packed) const { return is_packed ? packed : canonical; }
  Tensor data, scale;
  PackedTensors canonical, packed;
};

class CpuKernelsTest : public ::testing::TestWithParam<cpu::Isa> {
 protected:
  cpu::ThreadPool pool_{2};
  const cpu::Context context_{GetParam(), &pool_};
  const cpu::ContextScope scope_{context_};
};

INSTANTIATE_TEST_SUITE_P(EveryIsa, CpuKernelsTest, ::testing::ValuesIn(cpu::AvailableIsas()),
                         [](const auto& info) {
                           std::string name(cpu::IsaName(info.param));
                           std::erase(name, '-');
                           return name;
                         });

// Two prompts of 5 and 3 rows and two cached rows, one of them padding.
struct AttentionStep {
  static constexpr int kHidden = 64, kHeads = 4, kKvHeads = 2, kDim = 24, kBlock = 4;
  explicit AttentionStep(at::ScalarType type, at::ScalarType kv_type)
      : qkv((kHeads + 2 * kKvHeads) * kDim, kHidden, type),
        out(kHidden, kHeads * kDim, type),
        kv((at::randn({2, 2, 9, kKvHeads, kBlock, kDim}) * (kv_type == at::kChar ? 30 : 1))
               .to(kv_type)),
        kv_scale(kv_type == at::kChar ? at::rand({2, 2, 9, kKvHeads, kBlock}) * 0.05 : None()) {}

  // Returns h and y; `pages` becomes what the step leaves in the cache, as float32.
  Tensors2 Run(bool packed, const Tensor& rows, int window, Tensor* pages) const {
    const Tensor own_kv = kv.clone(), own_scale = kv_scale.clone();
    const Tensors2 result = Run(packed, rows, window, own_kv, own_scale);
    *pages = own_kv.to(at::kFloat);
    if (own_scale.numel() > 0) *pages *= own_scale.unsqueeze(-1);
    return result;
  }

  Tensors2 Run(bool packed, const Tensor& rows, int window, const Tensor& own_kv,
               const Tensor& own_scale) const {
    const Tensor positions = at::tensor({0, 1, 2, 3, 4, 0, 1, 2, 6, 0}, at::kInt);
    const Tensor slots = at::tensor({4, 5, 6, 7, 8, 20, 21, -1, 30, -1}, at::kInt);
    const Tensor table = at::tensor({5, 7, 1, 0}, at::kInt).view({2, 2});
    return (packed ? CpuAttention : attention)({{h, y, y_norm},
                                                norm,
                                                qkv.In(packed).View(),
                                                out.In(packed).View(),
                                                rope({positions, kDim, 10000}),
                                                own_kv,
                                                own_scale,
                                                slots,
                                                at::tensor({0, 5, 8}, at::kInt),
                                                std::vector<std::int64_t>{5, 3},
                                                table,
                                                at::tensor({7, 0}, at::kInt),
                                                rows,
                                                {TensorList(), None()},
                                                1,
                                                kHeads,
                                                kKvHeads,
                                                kDim,
                                                1e-6,
                                                0.2,
                                                50,
                                                window});
  }

  TwoForms qkv, out;
  Tensor kv, kv_scale, h = at::randn({10, kHidden}), y = at::randn({10, kHidden});
  Tensor y_norm = at::randn({kHidden}), norm = at::randn({kHidden});
};

TEST_P(CpuKernelsTest, AttentionMatchesTheReference) {
  for (const auto type : kTypes) {
    for (const auto kv_type : {at::kFloat, at::kBFloat16, at::kChar}) {
      const AttentionStep step(type, kv_type);
      // Roundings of activations differ where the norm's last bit does.
      const double tolerance = type == at::kFloat && kv_type == at::kFloat ? 1e-5 : 3e-2;
      for (const Tensor& rows : {None().to(at::kInt), at::tensor({9, 4, 7, 8}, at::kInt)}) {
        for (const int window : {0, 3}) {
          Tensor pages, expected_pages;
          const auto [h, y] = step.Run(true, rows, window, &pages);
          const auto [expected_h, expected_y] = step.Run(false, rows, window, &expected_pages);
          EXPECT_LT(Difference(h, expected_h), 1e-6);
          EXPECT_LT(Difference(y, expected_y), tolerance) << type << " " << kv_type;
          EXPECT_LT(Difference(pages, expected_pages), tolerance);
        }
      }
    }
  }
}

TEST_P(CpuKernelsTest, Int8PagesAreTheReferencesToTheBit) {
  for (const std::int64_t dim : {8, 24, 72, 256}) {
    const Tensor kv = at::zeros({1, 2, 3, 2, 4, dim}, at::kChar);
    const Tensor scale = at::zeros({1, 2, 3, 2, 4});
    const Tensor keys = at::randn({2, dim}), values = at::randn({2, dim}) * 1e-3;
    const LayerPages pages(kv, scale, 0);
    pages.Write(cpu::KernelsFor(GetParam()), keys.const_data_ptr<float>(),
                values.const_data_ptr<float>(), 6);
    const Tensor both = at::stack({keys, values});
    const Tensor expected = both.abs().amax(-1) / 127.0;
    EXPECT_TRUE(at::equal(scale.select(0, 0).select(1, 1).select(2, 2), expected));
    EXPECT_TRUE(at::equal(kv.select(0, 0).select(1, 1).select(2, 2),
                          at::round(both / expected.unsqueeze(-1)).to(at::kChar)));
  }
}

TEST_P(CpuKernelsTest, MlpMatchesTheReference) {
  const Tensor h = at::randn({9, 64}), y = at::randn({9, 64}), norm = at::randn({64});
  for (const auto type : kTypes) {
    const TwoForms in(2 * 96, 64, type), back(64, 96, type);
    const auto run = [&](bool packed) {
      return (packed ? CpuMlp : mlp)({{h, y, norm},
                                      norm,
                                      in.In(packed).View(),
                                      back.In(packed).View(),
                                      {TensorList(), None()},
                                      0,
                                      96,
                                      1e-6});
    };
    const auto [h1, y1] = run(true);
    const auto [h2, y2] = run(false);
    EXPECT_LT(Difference(h1, h2), 1e-6);
    EXPECT_LT(Difference(y1, y2), type == at::kFloat ? 1e-5 : 2e-2) << type;
  }
}

TEST_P(CpuKernelsTest, VisionMatchesTheReference) {
  constexpr int kHidden = 3 * 12, kTokens = 10;
  const Tensor h = at::randn({2 * kTokens, kHidden});
  const Tensor norm = at::randn({kHidden}), bias = at::randn({kHidden});
  for (const auto type : {at::kFloat, at::kBFloat16, at::kChar}) {
    const double tolerance = type == at::kFloat ? 1e-5 : 2e-2;
    const TwoForms qkv(3 * kHidden, kHidden, type), out(kHidden, kHidden, type);
    const Tensor qkv_bias = at::randn({3 * kHidden});
    const auto attend = [&](bool packed) {
      return (packed ? CpuVisionAttention : vision_attention)({h,
                                                               {norm, bias, 1e-6},
                                                               qkv.In(packed).View(),
                                                               qkv_bias,
                                                               out.In(packed).View(),
                                                               bias,
                                                               kTokens,
                                                               3,
                                                               12});
    };
    EXPECT_LT(Difference(attend(true), attend(false)), tolerance);
    const TwoForms fc1(50, kHidden, type), fc2(kHidden, 50, type);
    const Tensor fc1_bias = at::randn({50});
    const auto feed = [&](bool packed) {
      return (packed ? CpuVisionMlp : vision_mlp)({h,
                                                   {norm, bias, 1e-6},
                                                   fc1.In(packed).View(),
                                                   fc1_bias,
                                                   fc2.In(packed).View(),
                                                   bias,
                                                   50});
    };
    EXPECT_LT(Difference(feed(true), feed(false)), tolerance);
    const auto widen = [&](bool packed) {
      return (packed ? CpuProject
                     : project)({h, {norm, bias, 1e-6}, fc1.In(packed).View(), fc1_bias, 50});
    };
    EXPECT_LT(Difference(widen(true), widen(false)), tolerance);
  }
}

TEST_P(CpuKernelsTest, SamplesTheSameTokensAsTheReference) {
  constexpr int kVocab = 20'000;
  // Without more digits than bfloat16 has, since fp8 products round to it.
  const Tensor hidden = at::randn({5, 32}).to(at::kBFloat16).to(at::kFloat);
  Tensor params = at::zeros({5, 4}), controls = at::full({5, 8}, -1, at::kInt);
  params.select(1, 1).fill_(1);
  params.select(1, 3).fill_(1);
  const Tensor none = at::zeros({0, 0}, at::kInt);
  for (const auto type : {at::kFloat, at::kChar, at::kFloat8_e4m3fn}) {
    const TwoForms table(kVocab, 32, type);
    const auto run = [&](bool packed) {
      return sample(
          {{hidden, table.In(packed).View(), kVocab, 30}, params, controls, none, none, 0, 3});
    };
    const auto [ids, logprobs, top_ids, top_logprobs] = run(true);
    const auto [ids2, logprobs2, top_ids2, top_logprobs2] = run(false);
    EXPECT_TRUE(at::equal(ids, ids2));
    EXPECT_TRUE(at::equal(top_ids, top_ids2));
    EXPECT_LT(Difference(logprobs, logprobs2), 1e-5);
    EXPECT_LT(Difference(top_logprobs, top_logprobs2), 1e-5);
  }
}

// Without alternatives no logits are written: the same tokens, whatever the rows beside them ask.
TEST_P(CpuKernelsTest, GreedyRowsChooseTheSameTokensWithAndWithoutLogits) {
  constexpr int kRows = 5, kVocab = 4999;  // of a table of 5,003
  Tensor hidden = at::randn({kRows, 32});
  hidden[3][7] = std::numeric_limits<float>::quiet_NaN();
  hidden[4].fill_(0);  // all logits are equal
  Tensor params = at::zeros({kRows, 4}), controls = at::full({kRows, 8}, -1, at::kInt);
  params.select(1, 1).fill_(1);
  params.select(1, 3).fill_(1);
  const Tensor none = at::zeros({0, 0}, at::kInt);
  for (const auto type : kTypes) {
    const TwoForms table(5003, 32, type);
    for (const double softcap : {0., 30.}) {
      const auto run = [&](const Tensor& rows, std::int64_t top) {
        return sample({{rows, table.packed.View(), kVocab, softcap},
                       params.narrow(0, 0, rows.size(0)),
                       controls.narrow(0, 0, rows.size(0)),
                       none,
                       none,
                       0,
                       top});
      };
      const auto [ids, logprobs, top_ids, top_logprobs] = run(hidden, 0);
      const auto [ids2, logprobs2, top_ids2, top_logprobs2] = run(hidden, 1);
      EXPECT_TRUE(at::equal(ids, ids2)) << type;
      EXPECT_EQ(ids[3].item<int>(), -1);
      EXPECT_EQ(ids[4].item<int>(), 0);
      EXPECT_TRUE(at::allclose(logprobs.narrow(0, 0, 3), logprobs2.narrow(0, 0, 3), 1e-5, 1e-5));
      EXPECT_EQ(top_ids.sizes(), at::IntArrayRef({kRows, 0}));
      EXPECT_TRUE(at::equal(std::get<0>(run(hidden, -1)), ids));
      for (int row = 0; row < 3; ++row) {
        const auto alone = run(hidden.narrow(0, row, 1), 0);
        EXPECT_TRUE(at::equal(std::get<0>(alone), ids.narrow(0, row, 1)));
        EXPECT_TRUE(at::equal(std::get<1>(alone), logprobs.narrow(0, row, 1)));
      }
    }
  }
}

TEST_P(CpuKernelsTest, OldScalesOfInt4StayWithTheReference) {
  const Tensor data = at::randint(0, 256, {8, 32}, at::kByte);
  EXPECT_TRUE(CanPack(data, at::rand({8, 2}).to(at::kBFloat16), Encoding::kInt4));
  EXPECT_FALSE(CanPack(data, at::rand({8, 2}), Encoding::kInt4));
  EXPECT_FALSE(CanPack(data, at::rand({8, 1}).to(at::kBFloat16), Encoding::kInt4));  // groups of 64
}

TEST_P(CpuKernelsTest, AStepsRowIsTheSameAmongOthers) {
  for (const auto type : kTypes) {
    const Tensor h = at::randn({33, 64}), y = at::randn({33, 64}), norm = at::randn({64});
    const TwoForms in(2 * 96, 64, type), back(64, 96, type);
    const auto run = [&](std::int64_t first, std::int64_t count) {
      return CpuMlp({{h.narrow(0, first, count), y.narrow(0, first, count), norm},
                     norm,
                     in.packed.View(),
                     back.packed.View(),
                     {TensorList(), None()},
                     0,
                     96,
                     1e-6});
    };
    const auto [all_h, all_y] = run(0, 33);
    for (int count = 1; count <= 33; ++count) {
      const auto [part_h, part_y] = run(33 - count, count);
      EXPECT_TRUE(at::equal(part_h, all_h.narrow(0, 33 - count, count)));
      EXPECT_TRUE(at::equal(part_y, all_y.narrow(0, 33 - count, count))) << type << " " << count;
    }
  }
}

}  // namespace
}  // namespace paligemma::ops
