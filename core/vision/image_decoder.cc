// SPDX-License-Identifier: Apache-2.0
#include "core/vision/image_decoder.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "core/vision/codec.h"
#include "core/vision/foreign_format.h"

namespace paligemma {
namespace vision {

Status ImageCorrupt(std::string_view field, std::string_view problem) {
  return Status(StatusCode::kInvalidArgument, Reason::kImageCorrupt,
                std::string(field) + ": the image is damaged or cut short: " + std::string(problem),
                {{"field", std::string(field)}});
}

Status ImageTooComplex(std::string_view field, std::string_view problem, std::int64_t limit) {
  return Status(StatusCode::kInvalidArgument, Reason::kImageTooComplex,
                std::string(field) + ": the image is too costly to decode: " +
                    std::string(problem) + ", limit " + std::to_string(limit),
                {{"field", std::string(field)}, {"limit", std::to_string(limit)}});
}

namespace {

Status TooLarge(std::string_view field, const std::string& value, std::int64_t limit,
                std::string_view unit) {
  return Status(
      StatusCode::kInvalidArgument, Reason::kImageTooLarge,
      std::string(field) + ": the image is too large: " + value + ", limit " +
          std::to_string(limit) + " " + std::string(unit),
      {{"field", std::string(field)}, {"value", value}, {"limit", std::to_string(limit)}});
}

Bytes BytesOf(const std::string& text) {
  return Bytes(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
}

enum class Format { kUnknown, kJpeg, kPng, kWebp };

bool HasBytes(Bytes bytes, std::size_t at, std::string_view wanted) {
  return bytes.size() >= at + wanted.size() &&
         std::memcmp(bytes.data() + at, wanted.data(), wanted.size()) == 0;
}

Format Sniff(Bytes bytes) {
  if (HasBytes(bytes, 0, "\xFF\xD8\xFF")) return Format::kJpeg;
  if (HasBytes(bytes, 0, "\x89PNG\r\n\x1A\n")) return Format::kPng;
  if (HasBytes(bytes, 0, "RIFF") && HasBytes(bytes, 8, "WEBP")) return Format::kWebp;
  return Format::kUnknown;
}

Status FormatUnsupported(const EncodedImage& input) {
  const std::string field(input.field);
  return Status(StatusCode::kInvalidArgument, Reason::kImageFormatUnsupported,
                field + ": " + std::string(DescribeForeignFormat(input.bytes)) + "; accepted are " +
                    std::string(kAcceptedImageTypes),
                {{"field", field}, {"accepted", std::string(kAcceptedImageTypes)}});
}

StatusOr<DecodedImage> DecodeFile(const EncodedImage& input) {
  const auto limit = input.limits.max_bytes;
  if (static_cast<std::int64_t>(input.bytes.size()) > limit) {
    return TooLarge(input.field, std::to_string(input.bytes.size()), limit, "bytes");
  }
  DecodedImage decoded;
  StatusOr<CodecResult> result = InternalError("no codec");
  switch (Sniff(input.bytes)) {
    case Format::kJpeg:
      decoded.info.mime_type = "image/jpeg";
      result = DecodeJpeg(input);
      break;
    case Format::kPng:
      decoded.info.mime_type = "image/png";
      result = DecodePng(input);
      break;
    case Format::kWebp:
      decoded.info.mime_type = "image/webp";
      result = DecodeWebp(input);
      break;
    case Format::kUnknown:
      return FormatUnsupported(input);
  }
  if (!result.ok()) return result.status();
  decoded.info.exif_orientation = result->orientation;
  decoded.image = ApplyOrientation(std::move(result->image), result->orientation);
  return decoded;
}

StatusOr<DecodedImage> DecodeRaw(const ImageInput::Raw& raw, const ImageLimits& limits,
                                 std::string_view field) {
  const std::string name(field);
  if (raw.width < 1 || raw.height < 1) {
    return InvalidField(name, std::to_string(raw.width) + " x " + std::to_string(raw.height), "1",
                        "raw pixels need a width and a height");
  }
  const auto* data = reinterpret_cast<const std::uint8_t*>(raw.data.data());
  const EncodedImage input{Bytes(data, raw.data.size()), limits, field, nullptr};
  PG_RETURN_IF_ERROR(CheckImageSize(input, raw.width, raw.height));
  const std::size_t num_pixels =
      static_cast<std::size_t>(raw.width) * static_cast<std::size_t>(raw.height);
  const std::size_t channels = raw.format == PixelFormat::kGray8 ? 1 : 3;
  if (raw.data.size() != num_pixels * channels) {
    return InvalidField(name, std::to_string(raw.data.size()),
                        std::to_string(num_pixels * channels),
                        "data has not width * height * channels bytes");
  }
  DecodedImage decoded;
  decoded.image.width = raw.width;
  decoded.image.height = raw.height;
  if (channels == 3) {
    decoded.image.pixels.assign(data, data + raw.data.size());
  } else {
    decoded.image.pixels.resize(num_pixels * 3);
    for (std::size_t i = 0; i < num_pixels; ++i) {
      std::memset(decoded.image.pixels.data() + i * 3, data[i], 3);
    }
  }
  return decoded;
}

}  // namespace

Status CheckImageSize(const EncodedImage& input, std::int64_t width, std::int64_t height) {
  if (width < 1 || height < 1) return ImageCorrupt(input.field, "it has no pixels");
  const std::string size = std::to_string(width) + " x " + std::to_string(height);
  if (width > input.limits.max_side || height > input.limits.max_side) {
    return TooLarge(input.field, size, input.limits.max_side, "pixels a side");
  }
  if (width * height > input.limits.max_pixels) {
    return TooLarge(input.field, size, input.limits.max_pixels, "pixels");
  }
  return OkStatus();
}

}  // namespace vision

std::int64_t CountPixels(const ImageInput& input) {
  if (input.is_raw) {
    return std::int64_t{std::max(0, input.raw.width)} * std::max(0, input.raw.height);
  }
  const vision::Bytes bytes = vision::BytesOf(input.encoded);
  vision::HeaderSize size;
  switch (vision::Sniff(bytes)) {
    case vision::Format::kJpeg:
      size = vision::SizeOfJpeg(bytes);
      break;
    case vision::Format::kPng:
      size = vision::SizeOfPng(bytes);
      break;
    case vision::Format::kWebp:
      size = vision::SizeOfWebp(bytes);
      break;
    case vision::Format::kUnknown:
      break;
  }
  constexpr std::int64_t kMany = std::int64_t{1} << 30;  // so that the product fits
  return std::min(size.width, kMany) * std::min(size.height, kMany);
}

StatusOr<DecodedImage> DecodeImage(const ImageInput& input, const ImageLimits& limits,
                                   std::string_view field, const InterruptCheck& check) {
  if (input.is_raw ? input.raw.data.empty() : input.encoded.empty()) {
    return Status(StatusCode::kInvalidArgument, Reason::kImageMissing,
                  std::string(field) + ": no bytes", {{"field", std::string(field)}});
  }
  try {
    StatusOr<DecodedImage> decoded =
        input.is_raw ? vision::DecodeRaw(input.raw, limits, field)
                     : vision::DecodeFile({vision::BytesOf(input.encoded), limits, field, &check});
    if (decoded.ok()) {
      decoded->info.width = decoded->image.width;
      decoded->info.height = decoded->image.height;
    }
    return decoded;
  } catch (const std::bad_alloc&) {
    return OutOfMemory("to decode an image");
  }
}

}  // namespace paligemma
