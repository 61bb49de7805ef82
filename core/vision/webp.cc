// SPDX-License-Identifier: Apache-2.0
// WebP by libwebp: one still picture; animations are refused.
#include <webp/decode.h>

#include <algorithm>
#include <cstring>
#include <memory>
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

// Hands the file over part by part and looks between two of them whether to go on.
VP8StatusCode DecodeInParts(const EncodedImage& input, WebPDecoderConfig* config,
                            Status* interrupted) {
  constexpr std::size_t kNumParts = 64, kMinPart = 4096;
  const std::unique_ptr<WebPIDecoder, decltype(&WebPIDelete)> decoder(
      WebPIDecode(nullptr, 0, config), &WebPIDelete);
  if (decoder == nullptr) return VP8_STATUS_OUT_OF_MEMORY;
  const std::size_t size = input.bytes.size();
  const std::size_t part = std::max(kMinPart, size / kNumParts);
  VP8StatusCode status = VP8_STATUS_SUSPENDED;
  for (std::size_t end = 0; end < size && status == VP8_STATUS_SUSPENDED;) {
    *interrupted = input.Interrupted();
    if (!interrupted->ok()) return VP8_STATUS_USER_ABORT;
    end = std::min(size, end + part);
    status = WebPIUpdate(decoder.get(), input.bytes.data(), end);
  }
  return status;
}

}  // namespace

HeaderSize SizeOfWebp(Bytes bytes) {
  int width = 0, height = 0;
  if (WebPGetInfo(bytes.data(), bytes.size(), &width, &height) == 0) return {};
  return {width, height};
}

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
  Status interrupted;
  const VP8StatusCode status = DecodeInParts(input, &config, &interrupted);
  WebPFreeDecBuffer(&config.output);
  if (!interrupted.ok()) return interrupted;
  if (status == VP8_STATUS_OUT_OF_MEMORY) throw std::bad_alloc();
  if (status != VP8_STATUS_OK) return ImageCorrupt(input.field, "the WebP data is wrong");
  return result;
}

}  // namespace paligemma::vision
