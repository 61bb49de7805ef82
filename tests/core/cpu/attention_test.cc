// SPDX-License-Identifier: Apache-2.0
// Attention against plain loops in double, and rows that depend on nothing but their own sequence.
#include "core/cpu/attention.h"

#include <gmock/gmock.h>

#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <random>

namespace paligemma::cpu {
namespace {

using ::testing::Each;
using ::testing::ElementsAreArray;

std::vector<float> RandomValues(std::int64_t count, int seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// One head of one row. key(i), value(i): rows of head_dim.
template <typename Rows>
std::vector<double> Expected(const AttentionShape& shape, const float* query, int count,
                             const Rows& key, const Rows& value) {
  std::vector<double> weights(count), result(shape.head_dim);
  double largest = -1e30, total = 0;
  for (int i = 0; i < count; ++i) {
    double score = 0;
    for (int k = 0; k < shape.head_dim; ++k) score += double{query[k]} * key(i)[k];
    score *= shape.scale;
    weights[i] = shape.softcap > 0 ? shape.softcap * std::tanh(score / shape.softcap) : score;
    largest = std::max(largest, weights[i]);
  }
  for (double& weight : weights) total += weight = std::exp(weight - largest);
  for (int i = 0; i < count; ++i) {
    for (int k = 0; k < shape.head_dim; ++k) result[k] += weights[i] / total * value(i)[k];
  }
  return result;
}

// Queries, keys and values of a prompt side by side in rows, as a product leaves them.
struct PromptCase {
  PromptCase(const AttentionShape& shape, int length, int seed)
      : shape(shape),
        length(length),
        stride((shape.heads + 2 * shape.kv_heads) * shape.head_dim),
        values(RandomValues(stride * length, seed)) {}

  Prompt View(const std::vector<int>& rows) const {
    const float* keys = values.data() + shape.heads * shape.head_dim;
    Prompt prompt{values.data(), keys, keys + shape.kv_heads * shape.head_dim, stride,
                  length,        rows, std::vector<int>(rows.size())};
    std::iota(prompt.targets.begin(), prompt.targets.end(), 0);
    return prompt;
  }

  std::vector<float> Run(const Context& context, const std::vector<int>& rows) const {
    std::vector<float> out(rows.size() * shape.heads * shape.head_dim);
    AttendPrompt(context, shape, View(rows), out.data(), shape.heads * shape.head_dim);
    return out;
  }
  std::vector<float> RunAll(const Context& context) const {
    std::vector<int> rows(length);
    std::iota(rows.begin(), rows.end(), 0);
    return Run(context, rows);
  }

  const AttentionShape shape;
  const int length;
  const std::int64_t stride;
  const std::vector<float> values;
};

// The pages of one sequence, its blocks scattered.
struct PagesCase {
  PagesCase(const AttentionShape& shape, int length, int block_size, PageType type, int seed)
      : shape(shape), length(length), block_size(block_size), type(type) {
    const int blocks = (length + block_size - 1) / block_size;
    for (int i = 0; i < blocks; ++i) table.push_back((i * 7 + 3) % (blocks * 7 + 3));
    const std::int64_t block = shape.kv_heads * block_size * shape.head_dim;
    keys = RandomPages((blocks * 7 + 3) * block, seed, &key_bytes, &key_scales);
    values = RandomPages((blocks * 7 + 3) * block, seed + 1, &value_bytes, &value_scales);
    queries = RandomValues(shape.heads * shape.head_dim, seed + 2);
  }

  // Rounded to what pages of the type hold; for int8 also what they hold.
  std::vector<float> RandomPages(std::int64_t count, int seed, std::vector<std::int8_t>* bytes,
                                 std::vector<float>* scales) const {
    std::vector<float> pages = RandomValues(count, seed);
    if (type != PageType::kInt8) {
      for (float& value : pages) {
        value = std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) & 0xffff0000u);
      }
      return pages;
    }
    for (std::int64_t i = 0; i < count; ++i) {
      if (i % shape.head_dim == 0) scales->push_back(0.02f + std::abs(pages[i]) * 0.01f);
      bytes->push_back(static_cast<std::int8_t>(std::lround(pages[i] * 25)));
      pages[i] = static_cast<float>(bytes->back()) * scales->back();
    }
    return pages;
  }
  static std::vector<std::uint16_t> UpperHalves(const std::vector<float>& pages) {
    std::vector<std::uint16_t> halves;
    for (const float value : pages) halves.push_back(std::bit_cast<std::uint32_t>(value) >> 16);
    return halves;
  }
  const float* Row(const std::vector<float>& pages, int position, int head) const {
    const std::int64_t block = table[position / block_size];
    return pages.data() +
           ((block * shape.kv_heads + head) * block_size + position % block_size) * shape.head_dim;
  }

  std::vector<float> Run(const Context& context, int first, int last, int copies = 1) const {
    const std::vector<std::uint16_t> half_keys = UpperHalves(keys),
                                     half_values = UpperHalves(values);
    Pages pages{keys.data(), values.data(), nullptr, nullptr, type, block_size};
    if (type == PageType::kBfloat16) {
      pages.keys = half_keys.data();
      pages.values = half_values.data();
    } else if (type == PageType::kInt8) {
      pages = {key_bytes.data(), value_bytes.data(), key_scales.data(), value_scales.data(), type,
               block_size};
    }
    const int width = shape.heads * shape.head_dim;
    std::vector<float> out(width * copies, std::numeric_limits<float>::quiet_NaN());
    std::vector<CachedRow> rows;
    for (int i = 0; i < copies; ++i) {
      rows.push_back({queries.data(), table.data(), first, last, out.data() + i * width});
    }
    AttendCached(context, shape, pages, rows);
    return out;
  }

  const AttentionShape shape;
  const int length, block_size;
  const PageType type;
  std::vector<std::int32_t> table;
  std::vector<float> keys, values, queries;
  std::vector<std::int8_t> key_bytes, value_bytes;
  std::vector<float> key_scales, value_scales;
};

class AttentionTest : public ::testing::TestWithParam<Isa> {
 protected:
  Context Alone() const { return {GetParam(), nullptr}; }
};

INSTANTIATE_TEST_SUITE_P(EveryIsa, AttentionTest, ::testing::ValuesIn(AvailableIsas()),
                         [](const auto& info) {
                           std::string name(IsaName(info.param));
                           std::erase(name, '-');
                           return name;
                         });

constexpr PageType kPageTypes[] = {PageType::kFloat32, PageType::kBfloat16, PageType::kInt8};

const AttentionShape kShapes[] = {
    {8, 4, 256, 0.0625f, 50}, {3, 3, 72, 0.118f, 0}, {4, 2, 128, 0.09f, 50}, {2, 1, 8, 1, 2}};

TEST_P(AttentionTest, PromptsMatchPlainLoops) {
  for (const AttentionShape& shape : kShapes) {
    for (const int length : {1, 5, 64, 77}) {
      const PromptCase prompt(shape, length, length);
      const std::vector<float> out = prompt.RunAll(Alone());
      const int dim = shape.head_dim;
      for (int row = 0; row < length; row += 1 + length / 3) {
        for (int head = 0; head < shape.heads; ++head) {
          const float* keys =
              prompt.values.data() + (shape.heads + head / (shape.heads / shape.kv_heads)) * dim;
          const std::function<const float*(int)> key = [&](int i) {
            return keys + i * prompt.stride;
          };
          const std::function<const float*(int)> value = [&](int i) {
            return keys + shape.kv_heads * dim + i * prompt.stride;
          };
          const std::vector<double> expected = Expected(
              shape, prompt.values.data() + row * prompt.stride + head * dim, length, key, value);
          for (int k = 0; k < dim; ++k) {
            ASSERT_NEAR(out[(row * shape.heads + head) * dim + k], expected[k], 2e-5);
          }
        }
      }
    }
  }
}

TEST_P(AttentionTest, APromptsRowDoesNotDependOnWhichOthersAreAsked) {
  const PromptCase prompt({4, 2, 72, 0.1f, 50}, 61, 3);
  const std::vector<float> all = prompt.RunAll(Alone());
  const std::size_t width = 4 * 72;
  ThreadPool pool(3);
  EXPECT_THAT(prompt.RunAll({GetParam(), &pool}), ElementsAreArray(all));
  for (const std::vector<int>& rows : {std::vector<int>{60}, {0, 59}, {7, 3, 30, 31, 32}}) {
    const std::vector<float> some = prompt.Run({GetParam(), &pool}, rows);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      EXPECT_TRUE(std::equal(some.begin() + i * width, some.begin() + (i + 1) * width,
                             all.begin() + rows[i] * width));
    }
  }
}

TEST_P(AttentionTest, CachedRowsMatchPlainLoops) {
  for (const AttentionShape& shape : kShapes) {
    for (const PageType type : kPageTypes) {
      for (const auto& [first, last] : {std::pair{0, 1}, {0, 16}, {0, 37}, {20, 37}, {36, 37}}) {
        const PagesCase pages(shape, 37, 16, type, last);
        const std::vector<float> out = pages.Run(Alone(), first, last);
        const int dim = shape.head_dim, skipped = first;
        for (int head = 0; head < shape.heads; ++head) {
          const int kv_head = head / (shape.heads / shape.kv_heads);
          const std::function<const float*(int)> key = [&](int i) {
            return pages.Row(pages.keys, skipped + i, kv_head);
          };
          const std::function<const float*(int)> value = [&](int i) {
            return pages.Row(pages.values, skipped + i, kv_head);
          };
          const std::vector<double> expected =
              Expected(shape, pages.queries.data() + head * dim, last - first, key, value);
          for (int k = 0; k < dim; ++k) ASSERT_NEAR(out[head * dim + k], expected[k], 2e-5);
        }
      }
    }
  }
}

TEST_P(AttentionTest, ACachedRowIsTheSameInAnyBatchAndARowWithoutKeysIsZero) {
  for (const PageType type : kPageTypes) {
    const PagesCase pages({4, 2, 72, 0.1f, 50}, 50, 8, type, 5);
    ThreadPool pool(3);
    const std::vector<float> alone = pages.Run(Alone(), 0, 50);
    const std::vector<float> batch = pages.Run({GetParam(), &pool}, 0, 50, 9);
    for (std::size_t i = 0; i < batch.size(); ++i) ASSERT_EQ(batch[i], alone[i % alone.size()]);
    EXPECT_THAT(pages.Run(Alone(), 0, 0), Each(0.f));
  }
}

}  // namespace
}  // namespace paligemma::cpu
