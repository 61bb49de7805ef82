// SPDX-License-Identifier: Apache-2.0
// Attention over pages against loops in double, and a row's bits in any batch and any table width.
#include "device_memory.h"

namespace paligemma::gpu {
namespace {

struct Shape {
  int heads, kv_heads, dim, block;
  float softcap;
  int window;
};

// Rows of several lengths over pages in a scattered order.
struct PagedCase {
  PagedCase(Type type, const Shape& shape, std::vector<int> lengths)
      : type(type), shape(shape), context(std::move(lengths)) {
    int longest = 1;
    for (const int length : context) longest = std::max(longest, length);
    width = (longest + shape.block - 1) / shape.block;
    const int blocks = static_cast<int>(context.size()) * width;
    for (int i = 0; i < blocks; ++i) table.push_back((i * 7 + 3) % blocks);
    while (blocks % 7 == 0) ADD_FAILURE() << "the order needs another step", std::abort();
    Values values;
    const std::size_t rows = std::size_t(blocks) * shape.kv_heads * shape.block;
    const float size = type == Type::kInt8 ? 50 : 1;
    keys = Encode(type, values.Normal(rows * shape.dim, size));
    page_values = Encode(type, values.Normal(rows * shape.dim, size));
    for (std::size_t i = 0; i < rows; ++i) {
      key_scales.push_back(0.01f + 0.001f * (i % 5)),
          value_scales.push_back(0.02f + 0.001f * (i % 3));
    }
    stride = (shape.heads + 2 * shape.kv_heads) * shape.dim;
    q = values.Normal(context.size() * stride);
    scale = 1 / std::sqrt(float(shape.dim));
  }

  // Rows [first, first + count), with `more` columns of rubbish in the table.
  std::vector<float> Run(int first, int count, int more = 0) const {
    std::vector<int> own_table;
    for (int row = first; row < first + count; ++row) {
      own_table.insert(own_table.end(), table.begin() + row * width,
                       table.begin() + (row + 1) * width);
      own_table.insert(own_table.end(), more, 1 << 28);
    }
    const DeviceMemory<float> queries(std::vector<float>(
        q.begin() + std::size_t(first) * stride, q.begin() + std::size_t(first + count) * stride));
    const DeviceMemory<char> k(keys), v(page_values);
    const DeviceMemory<float> ks(key_scales), vs(value_scales);
    const DeviceMemory<int> tables(own_table),
        lengths(std::vector<int>(context.begin() + first, context.begin() + first + count));
    const int columns = width + more;
    const ProductWorkspace workspace = DecodeAttentionWorkspace(
        count, shape.heads, shape.dim, columns * shape.block, shape.kv_heads);
    DeviceMemory<char> partial(workspace.partial_bytes);
    DeviceMemory<unsigned> arrived(workspace.counters);
    arrived.Fill(0);
    DeviceMemory<float> out(std::size_t(count) * shape.heads * shape.dim);
    const Pages pages{type,
                      const_cast<char*>(k.get()),
                      const_cast<char*>(v.get()),
                      const_cast<float*>(ks.get()),
                      const_cast<float*>(vs.get()),
                      shape.block,
                      shape.kv_heads,
                      shape.dim};
    EXPECT_RUNS(DecodeAttention({queries.get(), pages, tables.get(), lengths.get(), out.get(),
                                 reinterpret_cast<float*>(partial.get()), arrived.get(), count,
                                 shape.heads, stride, columns, shape.window, scale, shape.softcap},
                                nullptr));
    for (const unsigned counter : arrived.ToHost()) EXPECT_EQ(counter, 0u);
    return out.ToHost();
  }

  std::vector<double> Wanted() const {
    const std::vector<float> k = Decode(type, keys), v = Decode(type, page_values);
    const int dim = shape.dim, group = shape.heads / shape.kv_heads;
    std::vector<double> wanted(context.size() * shape.heads * dim);
    for (std::size_t row = 0; row < context.size(); ++row) {
      const int begin = shape.window > 0 ? std::max(0, context[row] - shape.window) : 0;
      for (int head = 0; head < shape.heads; ++head) {
        const auto at = [&](int key) {
          return (std::size_t(table[row * width + key / shape.block]) * shape.kv_heads +
                  head / group) *
                     shape.block +
                 key % shape.block;
        };
        std::vector<double> weights;
        double total = 0;
        for (int key = begin; key < context[row]; ++key) {
          double score = 0;
          for (int i = 0; i < dim; ++i) {
            score += double(q[row * stride + head * dim + i]) * k[at(key) * dim + i] *
                     (type == Type::kInt8 ? key_scales[at(key)] : 1);
          }
          score *= scale;
          if (shape.softcap > 0) score = shape.softcap * std::tanh(score / shape.softcap);
          weights.push_back(std::exp(score));
          total += weights.back();
        }
        for (int key = begin; key < context[row]; ++key) {
          for (int i = 0; i < dim; ++i) {
            wanted[(row * shape.heads + head) * dim + i] +=
                weights[key - begin] / total * v[at(key) * dim + i] *
                (type == Type::kInt8 ? value_scales[at(key)] : 1);
          }
        }
      }
    }
    return wanted;
  }

  const Type type;
  const Shape shape;
  const std::vector<int> context;
  int width = 0, stride = 0;
  std::vector<int> table;
  std::vector<char> keys, page_values;
  std::vector<float> key_scales, value_scales, q;
  float scale = 0;
};

constexpr Shape kShapes[] = {{4, 2, 24, 4, 50, 0},
                             {2, 1, 256, 16, 50, 0},
                             {3, 3, 72, 8, 0, 0},
                             {8, 1, 128, 16, 0, 300},
                             {6, 1, 64, 16, 0, 0}};

// Lengths around the borders of a part, and a padding row.
TEST(DecodeAttentionTest, MatchesLoopsForEveryShapeAndType) {
  for (const Type type : kTypes) {
    for (const Shape& shape : kShapes) {
      SCOPED_TRACE(std::string(NameOf(type)) + " head of " + std::to_string(shape.dim));
      const PagedCase c(type, shape, {1, 0, 257, 40});
      const std::vector<double> wanted = c.Wanted();
      InEveryOrder([&] { EXPECT_LT(RelativeError(c.Run(0, 4), wanted), 1e-5); });
    }
  }
}

TEST(DecodeAttentionTest, JoinsPartsInOrder) {
  const PagedCase c(Type::kBfloat16, {4, 2, 32, 16, 50, 0}, {1025, 256, 512, 513, 700});
  EXPECT_LT(RelativeError(c.Run(0, 5), c.Wanted()), 1e-5);
}

TEST(DecodeAttentionTest, ARowHasTheSameBitsInEveryBatchAndTable) {
  const PagedCase c(Type::kBfloat16, {4, 2, 64, 16, 50, 0}, {600, 3, 257, 0, 90});
  const std::vector<float> all = c.Run(0, 5);
  const std::size_t size = std::size_t(c.shape.heads) * c.shape.dim;
  InEveryOrder([&] {
    for (const auto& [first, count, more] :
         {std::tuple{0, 1, 0}, {2, 1, 40}, {1, 4, 0}, {0, 3, 17}, {4, 1, 0}}) {
      EXPECT_TRUE(SameBits(c.Run(first, count, more),
                           {all.begin() + first * size, all.begin() + (first + count) * size}))
          << first << " " << count << " " << more;
    }
  });
}

TEST(DecodeAttentionTest, RefusesShapesThatItCannotTake) {
  const auto refused = [](int heads, int kv_heads, int dim) {
    DecodeAttentionArguments a{};
    a.heads = heads;
    a.pages.kv_heads = kv_heads;
    a.pages.head_dim = dim;
    a.pages.block_size = 16;
    return DecodeAttention(a, nullptr) == cudaErrorInvalidValue;
  };
  EXPECT_TRUE(refused(3, 2, 64));
  EXPECT_TRUE(refused(2, 1, 20));
  EXPECT_TRUE(refused(2, 1, 264));
}

}  // namespace
}  // namespace paligemma::gpu
