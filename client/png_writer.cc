// SPDX-License-Identifier: Apache-2.0
#include "client/png_writer.h"

#include <zlib.h>

#include <fstream>

namespace paligemma::client {
namespace {

void AppendBigEndian(std::uint32_t value, std::string* out) {
  for (int shift = 24; shift >= 0; shift -= 8) *out += static_cast<char>(value >> shift);
}

void AppendChunk(const char* type, const std::string& data, std::string* out) {
  AppendBigEndian(static_cast<std::uint32_t>(data.size()), out);
  const std::string checked = type + data;
  *out += checked;
  AppendBigEndian(
      static_cast<std::uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(checked.data()),
                                       static_cast<uInt>(checked.size()))),
      out);
}

}  // namespace

std::string EncodePng(const RgbImage& image) {
  const size_t row = static_cast<size_t>(image.width) * 3;
  std::string raw;  // each row behind its filter byte, 0: none
  for (int y = 0; y < image.height; ++y) {
    raw += '\0';
    raw.append(reinterpret_cast<const char*>(image.pixels.data()) + static_cast<size_t>(y) * row,
               row);
  }
  uLongf size = compressBound(raw.size());
  std::string packed(size, '\0');
  const int result = compress2(reinterpret_cast<Bytef*>(packed.data()), &size,
                               reinterpret_cast<const Bytef*>(raw.data()), raw.size(), 6);
  PG_CHECK(result == Z_OK) << "zlib failed";
  packed.resize(size);
  std::string header;
  AppendBigEndian(static_cast<std::uint32_t>(image.width), &header);
  AppendBigEndian(static_cast<std::uint32_t>(image.height), &header);
  header += std::string("\x08\x02\x00\x00\x00", 5);  // 8 bits, RGB
  std::string png("\x89PNG\r\n\x1a\n", 8);
  AppendChunk("IHDR", header, &png);
  AppendChunk("IDAT", packed, &png);
  AppendChunk("IEND", "", &png);
  return png;
}

Status WriteFile(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) return Status(StatusCode::kInternal, path + ": cannot be written");
  return OkStatus();
}

}  // namespace paligemma::client
