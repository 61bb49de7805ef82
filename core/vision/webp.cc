// SPDX-License-Identifier: Apache-2.0
// WebP by libwebp: one still picture; animations are refused.
#include <webp/decode.h>

#include <cstring>
#include <new>

#include "core/vision/codec.h"

namespace paligemma::vision {
namespace {

constexpr std::size_t kRiffHeaderBytes = 12;
constexpr int kMaxChunks = 4096;

std::uint32_t LittleEndian32(const std::uint8_t* p) {
  return std::uint32_t{p[3]} << 24 | std::uint32_t{p[2]} << 16 | std::uint32_t{p[1]} << 8 | p[0];
}

// Returns the first EXIF and XMP chunks. As in libwebp's demuxer they exist only in a file of the
// extended format whose header announces them.
OrientationSources FindMetadata(Bytes bytes) {
  constexpr std::uint8_t kXmpFlag = 0x04, kExifFlag = 0x08;
  OrientationSources found;
  std::uint8_t flags = 0;
  std::size_t at = kRiffHeaderBytes;
  for (int i = 0; i < kMaxChunks && at <= bytes.size() && bytes.size() - at >= 8; ++i) {
    const std::size_t length = LittleEndian32(bytes.data() + at + 4);
    if (length > bytes.size() - at - 8) break;
    const Bytes data = bytes.subspan(at + 8, length);
    const auto is = [&](const char* name) { return std::memcmp(bytes.data() + at, name, 4) == 0; };
    if (i == 0 && is("VP8X") && length > 0) flags = data[0];
    if ((flags & kExifFlag) != 0 && is("EXIF") && found.exif.empty()) found.exif = data;
    if ((flags & kXmpFlag) != 0 && is("XMP ") && found.xmp.empty()) found.xmp = data;
    at += 8 + length + (length & 1);
  }
  return found;
}

// libwebp decodes what is there of a cut file's pixels only; the container may be cut behind them.
bool IsWhole(Bytes bytes) {
  return bytes.size() >= kRiffHeaderBytes &&
         std::size_t{LittleEndian32(bytes.data() + 4)} + 8 <= bytes.size();
}

}  // namespace

StatusOr<CodecResult> DecodeWebp(const EncodedImage& input) {
  WebPDecoderConfig config;
  if (WebPInitDecoderConfig(&config) == 0) return InternalError("libwebp has another ABI");
  if (!IsWhole(input.bytes) ||
      WebPGetFeatures(input.bytes.data(), input.bytes.size(), &config.input) != VP8_STATUS_OK) {
    return ImageCorrupt(input.field, "the WebP header is wrong or incomplete");
  }
  if (config.input.has_animation != 0) {
    return Status(
        StatusCode::kInvalidArgument, Reason::kImageFormatUnsupported,
        std::string(input.field) + ": this is an animation: send one of its frames",
        {{"field", std::string(input.field)}, {"accepted", std::string(kAcceptedImageTypes)}});
  }
  PG_RETURN_IF_ERROR(CheckImageSize(input, config.input.width, config.input.height));
  CodecResult result;
  result.orientation = FindOrientation(FindMetadata(input.bytes));
  result.image.width = config.input.width;
  result.image.height = config.input.height;
  const std::size_t stride = static_cast<std::size_t>(config.input.width) * 3;
  result.image.pixels.resize(stride * static_cast<std::size_t>(config.input.height));
  config.output.colorspace = MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = result.image.pixels.data();
  config.output.u.RGBA.stride = static_cast<int>(stride);
  config.output.u.RGBA.size = result.image.pixels.size();
  const VP8StatusCode status = WebPDecode(input.bytes.data(), input.bytes.size(), &config);
  WebPFreeDecBuffer(&config.output);
  if (status == VP8_STATUS_OUT_OF_MEMORY) throw std::bad_alloc();
  if (status != VP8_STATUS_OK) return ImageCorrupt(input.field, "the WebP data is wrong");
  return result;
}

}  // namespace paligemma::vision
