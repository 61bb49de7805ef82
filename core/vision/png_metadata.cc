// SPDX-License-Identifier: Apache-2.0
#include "core/vision/png_metadata.h"

#include <zlib.h>

#include <cstring>
#include <optional>

namespace paligemma::vision {
namespace {

// Cuts up to the next zero byte off `bytes`, and the zero. Returns nothing if there is none.
std::optional<std::string_view> TakeWord(Bytes* bytes) {
  const void* zero = bytes->empty() ? nullptr : std::memchr(bytes->data(), 0, bytes->size());
  if (zero == nullptr) return std::nullopt;
  const char* begin = reinterpret_cast<const char*>(bytes->data());
  const auto length = static_cast<std::size_t>(static_cast<const char*>(zero) - begin);
  *bytes = bytes->subspan(length + 1);
  return std::string_view(begin, length);
}

// The bytes behind the three lines of a raw profile's head (empty, name, size), which are
// hexadecimal digits in lines. Empty if one is no digit.
std::string DecodeRawProfile(std::string_view text) {
  for (int line = 0; line < 3; ++line) {
    const std::size_t end = text.find('\n');
    if (end == text.npos) return "";
    text.remove_prefix(end + 1);
  }
  std::string bytes;
  int high = -1;
  for (const char c : text) {
    int digit = -1;
    if (c >= '0' && c <= '9') digit = c - '0';
    if (c >= 'a' && c <= 'f') digit = c - 'a' + 10;
    if (c >= 'A' && c <= 'F') digit = c - 'A' + 10;
    if (digit < 0) {
      const bool blank = c == '\n' || c == '\r' || c == ' ' || c == '\t';
      if (blank && high < 0) continue;
      return "";
    }
    if (high >= 0) bytes.push_back(static_cast<char>(high << 4 | digit));
    high = high >= 0 ? -1 : digit;
  }
  return high < 0 ? bytes : "";
}

Bytes AsBytes(const std::string& text) {
  return Bytes(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
}

}  // namespace

void PngMetadata::Add(std::string_view type, Bytes data) {
  if (type == "eXIf") {
    exif_ = data;
    return;
  }
  const bool international = type == "iTXt", deflated = type == "zTXt";
  if (!international && !deflated && type != "tEXt") return;
  const auto key = TakeWord(&data);
  if (!key.has_value()) return;
  if (type == "tEXt") {
    AddText(*key, {data, false});
  } else if (deflated) {
    if (!data.empty() && data[0] == 0) AddText(*key, {data.subspan(1), true});
  } else if (data.size() >= 2) {
    const bool compressed = data[0] != 0;
    if (compressed && data[1] != 0) return;
    data = data.subspan(2);
    if (TakeWord(&data) && TakeWord(&data)) AddText(*key, {data, compressed});
  }
}

void PngMetadata::AddText(std::string_view key, Text text) {
  if (key == "Raw profile type exif") raw_profile_ = text;
  if (key == "XML:com.adobe.xmp") xmp_ = text;
}

std::string PngMetadata::Inflated(const Text& text) {
  if (!text.compressed) {
    return std::string(reinterpret_cast<const char*>(text.bytes.data()), text.bytes.size());
  }
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) return "";
  std::string out(static_cast<std::size_t>(kMaxMetadataBytes), 0);
  stream.next_in = const_cast<Bytef*>(text.bytes.data());  // zlib only reads it
  stream.avail_in = static_cast<uInt>(text.bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int result = inflate(&stream, Z_SYNC_FLUSH);
  // A stream that is cut short is taken as far as it goes; a text that is too long is none.
  const bool good = result == Z_STREAM_END || (result == Z_OK && stream.avail_out > 0) ||
                    (result == Z_BUF_ERROR && stream.avail_out > 0);
  out.resize(good ? out.size() - stream.avail_out : 0);
  inflateEnd(&stream);
  return out;
}

int PngMetadata::Orientation() const {
  OrientationSources sources{exif_, {}};
  std::string profile, xmp;
  if (exif_.empty() && !raw_profile_.bytes.empty()) {
    profile = DecodeRawProfile(Inflated(raw_profile_));
    sources.exif = AsBytes(profile);
  }
  if (!xmp_.bytes.empty()) {
    xmp = Inflated(xmp_);
    sources.xmp = AsBytes(xmp);
  }
  return FindOrientation(sources);
}

}  // namespace paligemma::vision
