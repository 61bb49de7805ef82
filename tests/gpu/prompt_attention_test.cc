// SPDX-License-Identifier: Apache-2.0
// Attention of prompts and images against loops in double, and a prompt's bits beside others.
#include "device_memory.h"

namespace paligemma::gpu {
namespace {

// Prompts of several lengths, one after the other, as rows of queries, keys and values.
struct PromptCase {
  PromptCase(int heads, int kv_heads, int dim, float softcap, std::vector<int> lengths)
      : heads(heads), kv_heads(kv_heads), dim(dim), softcap(softcap), lengths(std::move(lengths)) {
    starts = {0};
    for (const int length : this->lengths) starts.push_back(starts.back() + length);
    stride = (heads + 2 * kv_heads) * dim;
    Values values;
    qkv = Encode(Type::kBfloat16, values.Normal(std::size_t(starts.back()) * stride, 2));
    scale = 1 / std::sqrt(float(dim));
  }

  // The prompts [first, first + count) alone.
  std::vector<float> Run(int first, int count) const {
    std::vector<int> own;
    int longest = 0;
    for (int i = first; i <= first + count; ++i) own.push_back(starts[i] - starts[first]);
    for (int i = first; i < first + count; ++i) longest = std::max(longest, lengths[i]);
    const std::size_t row_bytes = std::size_t(stride) * 2;
    const DeviceMemory<char> rows(std::vector<char>(
        qkv.begin() + starts[first] * row_bytes, qkv.begin() + starts[first + count] * row_bytes));
    const DeviceMemory<int> own_starts(own);
    DeviceMemory<char> out(std::size_t(own.back()) * heads * dim * 2);
    const char* q = rows.get();
    EXPECT_RUNS(PromptAttention(
        {q, q + heads * dim * 2, q + (heads + kv_heads) * dim * 2, out.get(), own_starts.get(),
         count, longest, heads, kv_heads, dim, stride, scale, softcap},
        nullptr));
    return Decode(Type::kBfloat16, out.ToHost());
  }

  std::vector<double> Wanted() const {
    const std::vector<float> all = Decode(Type::kBfloat16, qkv);
    std::vector<double> wanted(std::size_t(starts.back()) * heads * dim);
    for (std::size_t prompt = 0; prompt < lengths.size(); ++prompt) {
      for (int row = starts[prompt]; row < starts[prompt + 1]; ++row) {
        for (int head = 0; head < heads; ++head) {
          const int kv = head / (heads / kv_heads);
          const float* q = &all[std::size_t(row) * stride + head * dim];
          std::vector<double> weights;
          double total = 0;
          for (int key = starts[prompt]; key < starts[prompt + 1]; ++key) {
            const float* k = &all[std::size_t(key) * stride + (heads + kv) * dim];
            double score = 0;
            for (int i = 0; i < dim; ++i) score += double(q[i]) * k[i];
            score *= scale;
            if (softcap > 0) score = softcap * std::tanh(score / softcap);
            weights.push_back(std::exp(score));
            total += weights.back();
          }
          for (int key = starts[prompt]; key < starts[prompt + 1]; ++key) {
            const float* v = &all[std::size_t(key) * stride + (heads + kv_heads + kv) * dim];
            for (int i = 0; i < dim; ++i) {
              wanted[(std::size_t(row) * heads + head) * dim + i] +=
                  weights[key - starts[prompt]] / total * v[i];
            }
          }
        }
      }
    }
    return wanted;
  }

  const int heads, kv_heads, dim;
  const float softcap;
  const std::vector<int> lengths;
  std::vector<int> starts;
  int stride = 0;
  float scale = 0;
  std::vector<char> qkv;
};

TEST(PromptAttentionTest, MatchesLoopsForEverySizeOfHead) {
  for (const auto& [heads, kv_heads, dim, softcap, lengths] :
       std::vector<std::tuple<int, int, int, float, std::vector<int>>>{{4, 2, 24, 50, {9, 1, 40}},
                                                                       {2, 2, 72, 0, {70}},
                                                                       {2, 1, 128, 50, {33}},
                                                                       {2, 1, 256, 50, {66, 32}}}) {
    SCOPED_TRACE("head of " + std::to_string(dim));
    const PromptCase c(heads, kv_heads, dim, softcap, lengths);
    const std::vector<double> wanted = c.Wanted();
    InEveryOrder([&] { EXPECT_LT(RelativeError(c.Run(0, int(c.lengths.size())), wanted), 1e-2); });
  }
}

TEST(PromptAttentionTest, APromptHasTheSameBitsBesideOthers) {
  const PromptCase c(4, 2, 64, 50, {65, 3, 40});
  const std::vector<float> all = c.Run(0, 3);
  const std::size_t size = 4 * 64;
  for (const auto& [first, count] : {std::pair{0, 1}, {1, 1}, {2, 1}, {1, 2}}) {
    EXPECT_TRUE(SameBits(c.Run(first, count), {all.begin() + c.starts[first] * size,
                                               all.begin() + c.starts[first + count] * size}));
  }
}

}  // namespace
}  // namespace paligemma::gpu
