// SPDX-License-Identifier: Apache-2.0
// Kernels that take one row each, against loops in double.
#include "device_memory.h"

namespace paligemma::gpu {
namespace {

// Rows for a product, on the device.
struct RowsOnDevice {
  RowsOnDevice(Type type, int rows, int width)
      : type(type), width(width), values(std::size_t(rows) * width * SizeOf(type)), scale(rows) {}
  ProductRows View() const { return {type, values.get(), scale.get()}; }
  // What the rows stand for.
  std::vector<float> Meaning() const {
    std::vector<float> meaning = Decode(type, values.ToHost());
    const std::vector<float> scales = scale.ToHost();
    if (type == Type::kInt8) {
      for (std::size_t i = 0; i < meaning.size(); ++i) meaning[i] *= scales[i / width];
    }
    return meaning;
  }
  const Type type;
  const int width;
  DeviceMemory<char> values;
  DeviceMemory<float> scale;
};

double Tolerance(Type type) {
  return type == Type::kFloat32 ? 1e-6 : type == Type::kBfloat16 ? 4e-3 : 1.5e-2;
}

// h + rmsnorm(y) (1 + y_norm) and its norm.
struct NormCase {
  NormCase(int rows, int width, bool with_y) : rows(rows), width(width), with_y(with_y) {
    Values values;
    h = values.Normal(std::size_t(rows) * width, 2);
    y = values.Normal(std::size_t(rows) * width);
    y_norm = values.Normal(width, 0.3f);
    norm = values.Normal(width, 0.3f);
    for (int row = 0; row < rows; ++row) {
      const std::size_t start = std::size_t(row) * width;
      const auto factor = [&](auto at) {
        double squares = 0;
        for (int i = 0; i < width; ++i) squares += at(i) * at(i);
        return 1 / std::sqrt(squares / width + kEps);
      };
      const double of_y = factor([&](int i) { return double(y[start + i]); });
      for (int i = 0; i < width; ++i) {
        wanted_h.push_back(h[start + i] + (with_y ? y[start + i] * of_y * (1 + y_norm[i]) : 0));
      }
      const double of_h = factor([&](int i) { return wanted_h[start + i]; });
      for (int i = 0; i < width; ++i) {
        wanted_x.push_back(wanted_h[start + i] * of_h * (1 + norm[i]));
      }
    }
  }
  static constexpr float kEps = 1e-6f;
  const int rows, width;
  const bool with_y;
  std::vector<float> h, y, y_norm, norm;
  std::vector<double> wanted_h, wanted_x;
};

TEST(NormTest, AddsTheBranchAndNormsInEveryType) {
  for (const auto& [rows, width, with_y] :
       {std::tuple{3, 2304, true}, {2, 64, true}, {1, 4608, true}, {5, 1100, false}}) {
    const NormCase c(rows, width, with_y);
    const DeviceMemory<float> h(c.h), y(c.y), y_norm(c.y_norm), norm(c.norm);
    for (const Type type : kTypes) {
      SCOPED_TRACE(std::string(NameOf(type)) + " " + std::to_string(width));
      InEveryOrder([&] {
        DeviceMemory<float> h_out(c.h.size());
        const RowsOnDevice x(type, rows, width);
        EXPECT_RUNS(AddNorm({h.get(), with_y ? y.get() : nullptr, y_norm.get(), norm.get(),
                             h_out.get(), x.View(), rows, width, NormCase::kEps},
                            nullptr));
        EXPECT_LT(RelativeError(h_out.ToHost(), c.wanted_h), 1e-6);
        EXPECT_LT(RelativeError(x.Meaning(), c.wanted_x), Tolerance(type));
      });
    }
  }
}

TEST(NormTest, GivesOneResultWithoutTheOther) {
  const NormCase c(2, 256, true);
  const DeviceMemory<float> h(c.h), y(c.y), y_norm(c.y_norm), norm(c.norm);
  DeviceMemory<float> h_out(c.h.size());
  const RowsOnDevice x(Type::kFloat32, 2, 256);
  EXPECT_RUNS(
      AddNorm({h.get(), y.get(), y_norm.get(), nullptr, h_out.get(), {}, 2, 256, 1e-6f}, nullptr));
  EXPECT_LT(RelativeError(h_out.ToHost(), c.wanted_h), 1e-6);
  EXPECT_RUNS(AddNorm(
      {h.get(), y.get(), y_norm.get(), norm.get(), nullptr, x.View(), 2, 256, 1e-6f}, nullptr));
  EXPECT_LT(RelativeError(x.Meaning(), c.wanted_x), 1e-6);
}

// One launch reads what the one before wrote.
TEST(NormTest, WaitsForTheLaunchBefore) {
  const NormCase c(3, 256, true);
  const DeviceMemory<float> y(c.y), y_norm(c.y_norm), norm(c.norm);
  DeviceMemory<float> h(c.h);
  const RowsOnDevice x(Type::kBfloat16, 3, 256);
  const auto launch = [&] {
    return AddNorm({h.get(), y.get(), y_norm.get(), norm.get(), h.get(), x.View(), 3, 256, 1e-6f},
                   nullptr);
  };
  ASSERT_EQ(launch(), cudaSuccess);
  EXPECT_RUNS(launch());
  for (const float value : h.ToHost()) EXPECT_TRUE(std::isfinite(value));
}

TEST(NormTest, RefusesWidthsThatItCannotTake) {
  NormArguments arguments{};
  arguments.rows = 1;
  for (const int width : {30, 5124}) {
    arguments.width = width;
    EXPECT_NE(AddNorm(arguments, nullptr), cudaSuccess);
  }
}

TEST(GateTest, MultipliesTheHalvesInEveryType) {
  for (const int width : {112, 2052}) {
    const int rows = 3;
    Values values;
    const std::vector<float> both = values.Normal(std::size_t(rows) * 2 * width, 2);
    std::vector<double> wanted;
    for (int row = 0; row < rows; ++row) {
      for (int i = 0; i < width; ++i) {
        const double x = both[std::size_t(row) * 2 * width + i];
        const double up = both[std::size_t(row) * 2 * width + width + i];
        wanted.push_back(0.5 * x *
                         (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))) * up);
      }
    }
    const DeviceMemory<float> gate_up(both);
    for (const Type type : kTypes) {
      SCOPED_TRACE(NameOf(type));
      InEveryOrder([&] {
        const RowsOnDevice x(type, rows, width);
        EXPECT_RUNS(Gate({gate_up.get(), x.View(), rows, width}, nullptr));
        EXPECT_LT(RelativeError(x.Meaning(), wanted), Tolerance(type) * 2);
      });
    }
  }
}

// Int8 rows are what the CPU's kernels make of the same values, integer for integer.
TEST(ConvertTest, RoundsAsTheReferenceDoes) {
  const int rows = 4, width = 1000;
  Values values;
  std::vector<float> x = values.Normal(std::size_t(rows) * width);
  for (int i = 0; i < width; ++i) x[3 * width + i] = 0;
  const DeviceMemory<float> from(x);
  const RowsOnDevice to(Type::kInt8, rows, width);
  EXPECT_RUNS(Convert({from.get(), to.View(), rows, width}, nullptr));
  const std::vector<float> got = Decode(Type::kInt8, to.values.ToHost()), scale = to.scale.ToHost();
  for (int row = 0; row < rows; ++row) {
    float most = 0;
    for (int i = 0; i < width; ++i) most = std::max(most, std::fabs(x[row * width + i]));
    EXPECT_EQ(scale[row], std::max(most, 1e-30f) / 127.0f);
    for (int i = 0; i < width; ++i) {
      EXPECT_EQ(got[row * width + i], std::nearbyint(x[row * width + i] / scale[row]));
    }
  }
  const RowsOnDevice rounded(Type::kBfloat16, rows, width);
  EXPECT_RUNS(Convert({from.get(), rounded.View(), rows, width}, nullptr));
  for (float& value : x) value = ToBf16(value);
  EXPECT_EQ(rounded.Meaning(), x);
}

TEST(EmbedTest, TakesRowsOfTheTableAndOfImages) {
  const int vocab = 70, width = 200;
  const std::vector<int> ids = {2, -3, 69, 0, 1000, -9};
  Values values;
  const std::vector<float> images = values.Normal(3 * width);
  const std::vector<float> scales = values.Normal(vocab);
  for (const Type type : kTypes) {
    SCOPED_TRACE(NameOf(type));
    const std::vector<char> canonical =
        Encode(type, values.Normal(std::size_t(vocab) * width, type == Type::kInt8 ? 40 : 1));
    std::vector<char> packed = canonical;
    if (type != Type::kFloat32) {
      packed.resize(PackedBytes(type, vocab, width));
      PackPanels(type, canonical.data(), vocab, width, 0, PanelsOf(vocab), packed.data());
    }
    const std::vector<float> table = Decode(type, canonical);
    const DeviceMemory<int> on_device(ids);
    const DeviceMemory<float> image_rows(images), table_scale(scales);
    const DeviceMemory<char> device_table(packed);
    DeviceMemory<float> h(ids.size() * width);
    const double scale = 15.3;
    EXPECT_RUNS(Embed({on_device.get(), image_rows.get(), device_table.get(), table_scale.get(),
                       type, h.get(), int(ids.size()), width, vocab, 3, scale},
                      nullptr));
    const std::vector<float> got = h.ToHost();
    for (std::size_t row = 0; row < ids.size(); ++row) {
      for (int i = 0; i < width; ++i) {
        const int id = std::min(ids[row], vocab - 1), image = std::min(-id - 1, 2);
        float wanted = 0;
        if (id < 0) {
          wanted = images[image * width + i];
        } else if (type == Type::kBfloat16) {
          wanted = ToBf16(table[id * width + i] * ToBf16(float(scale)));
        } else {
          wanted = table[id * width + i] * (type == Type::kInt8 ? scales[id] : 1) * float(scale);
        }
        ASSERT_EQ(got[row * width + i], wanted) << row << " " << i;
      }
    }
  }
}

TEST(RopeTest, GivesCosinesThenSines) {
  const std::vector<int> positions = {0, 3, 8191};
  for (const int dim : {24, 256}) {
    const DeviceMemory<int> on_device(positions);
    DeviceMemory<float> out(positions.size() * dim);
    EXPECT_RUNS(Rope({on_device.get(), out.get(), int(positions.size()), dim, 10000.0}, nullptr));
    const std::vector<float> got = out.ToHost();
    for (std::size_t row = 0; row < positions.size(); ++row) {
      for (int i = 0; i < dim / 2; ++i) {
        // The angle is rounded to f32 on the way, as in the reference.
        const double angle = positions[row] / std::pow(10000.0, 2.0 * i / dim);
        const double tolerance = 1e-6 + angle * 4e-7;
        EXPECT_NEAR(got[row * dim + i], std::cos(angle), tolerance);
        EXPECT_NEAR(got[row * dim + dim / 2 + i], std::sin(angle), tolerance);
      }
    }
  }
}

// Three rows, one of them without a slot, to pages of every type.
TEST(RotateTest, RotatesAndWritesPages) {
  const int rows = 3, heads = 4, kv_heads = 2, block = 4, blocks = 5;
  const std::vector<int> slots = {6, -1, 19};
  for (const int dim : {24, 256}) {
    Values values;
    const int width = (heads + 2 * kv_heads) * dim;
    const std::vector<float> qkv = values.Normal(std::size_t(rows) * width);
    const std::vector<float> rope = values.Normal(std::size_t(rows) * dim);
    for (const Type type : kTypes) {
      SCOPED_TRACE(NameOf(type));
      InEveryOrder([&] {
        const std::size_t page_rows = std::size_t(blocks) * kv_heads * block;
        DeviceMemory<char> keys(page_rows * dim * SizeOf(type)),
            page_values(page_rows * dim * SizeOf(type));
        keys.Fill(0), page_values.Fill(0);
        DeviceMemory<float> key_scales(page_rows), value_scales(page_rows), on_device(qkv);
        const DeviceMemory<float> angles(rope);
        const DeviceMemory<int> places(slots);
        const Pages pages{
            type,     keys.get(), page_values.get(), key_scales.get(), value_scales.get(), block,
            kv_heads, dim};
        EXPECT_RUNS(RotateAndWrite(
            {on_device.get(), angles.get(), places.get(), pages, rows, heads}, nullptr));
        const std::vector<float> got = on_device.ToHost();
        const std::vector<float> got_keys = Decode(type, keys.ToHost()),
                                 got_values = Decode(type, page_values.ToHost()),
                                 ks = key_scales.ToHost(), vs = value_scales.ToHost();
        for (int row = 0; row < rows; ++row) {
          for (int head = 0; head < heads + 2 * kv_heads; ++head) {
            const float* from = &qkv[std::size_t(row) * width + head * dim];
            const float* angle = &rope[row * dim];
            const bool is_value = head >= heads + kv_heads;
            float most = 0;
            std::vector<float> wanted(dim);
            for (int i = 0; i < dim; ++i) {
              const int j = i % (dim / 2);
              const double other = from[i < dim / 2 ? i + dim / 2 : i - dim / 2];
              const double turned =
                  from[i] * angle[j] + (i < dim / 2 ? -1 : 1) * other * angle[dim / 2 + j];
              wanted[i] = is_value ? from[i] : float(turned);
              if (head >= heads && type == Type::kBfloat16) wanted[i] = ToBf16(wanted[i]);
              // A result between two values of bfloat16 may be rounded to either.
              ASSERT_NEAR(got[std::size_t(row) * width + head * dim + i], wanted[i],
                          type == Type::kBfloat16 ? 3e-2 : 2e-6);
              most = std::max(most, std::fabs(got[std::size_t(row) * width + head * dim + i]));
            }
            if (head < heads || slots[row] < 0) continue;
            const int kv_head = (head - heads) % kv_heads;
            const std::size_t at =
                (std::size_t(slots[row] / block) * kv_heads + kv_head) * block + slots[row] % block;
            const float scale = std::max(most, 1e-12f) / 127.0f;
            if (type == Type::kInt8) {
              ASSERT_EQ((is_value ? vs : ks)[at], scale);
            }
            for (int i = 0; i < dim; ++i) {
              const float own = got[std::size_t(row) * width + head * dim + i];
              ASSERT_EQ((is_value ? got_values : got_keys)[at * dim + i],
                        type == Type::kInt8 ? std::nearbyint(own / scale) : own);
            }
          }
        }
        // Two rows of two heads were written, to keys and to values, and nothing else.
        std::size_t written = 0;
        for (const float value : got_keys) written += value != 0;
        EXPECT_LE(written, std::size_t(2 * kv_heads * dim));
      });
    }
  }
}

}  // namespace
}  // namespace paligemma::gpu
