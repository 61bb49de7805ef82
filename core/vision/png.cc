// SPDX-License-Identifier: Apache-2.0
// PNG by libpng. Its errors leave by longjmp: functions that call setjmp hold no object with a
// destructor.
#include <png.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "core/vision/codec.h"
#include "core/vision/png_metadata.h"

namespace paligemma::vision {
namespace {

constexpr std::size_t kSignatureBytes = 8;
constexpr std::size_t kChunkOverhead = 12;  // length, type, CRC

struct Chunks {
  std::uint32_t width = 0, height = 0;
  PngMetadata metadata;
  int num = 0;
  bool has_header = false;
};

// Walks the chunks up to IEND and inflates nothing.
Chunks ScanChunks(Bytes bytes) {
  Chunks chunks;
  std::size_t at = kSignatureBytes;
  while (bytes.size() - at >= kChunkOverhead && chunks.num <= kMaxPngChunks) {
    const std::size_t length = BigEndian32(bytes.data() + at);
    const char* type = reinterpret_cast<const char*>(bytes.data() + at + 4);
    const auto is = [type](const char* name) { return std::memcmp(type, name, 4) == 0; };
    if (length > bytes.size() - at - kChunkOverhead) break;
    const Bytes data = bytes.subspan(at + 8, length);
    if (is("IHDR") && length == 13 && chunks.num == 0) {
      chunks.width = BigEndian32(data.data());
      chunks.height = BigEndian32(data.data() + 4);
      chunks.has_header = true;
    }
    chunks.metadata.Add({type, 4}, data);
    ++chunks.num;
    at += kChunkOverhead + length;
    if (is("IEND")) break;
  }
  return chunks;
}

constexpr png_uint_32 kRowsPerCheck = 16;

struct Session {
  const EncodedImage* input = nullptr;
  png_structp png = nullptr;
  png_infop info = nullptr;
  Bytes rest;
  char message[128] = {};
  bool out_of_memory = false;
  Status interrupted;

  ~Session() { png_destroy_read_struct(&png, &info, nullptr); }
};

[[noreturn]] void OnError(png_structp png, png_const_charp message) {
  auto* session = static_cast<Session*>(png_get_error_ptr(png));
  std::snprintf(session->message, sizeof(session->message), "%s", message);
  png_longjmp(png, 1);
}

void OnWarning(png_structp, png_const_charp) {}

png_voidp OnAllocate(png_structp png, png_alloc_size_t size) {
  void* memory = std::malloc(size);
  if (memory == nullptr) static_cast<Session*>(png_get_mem_ptr(png))->out_of_memory = true;
  return memory;
}

void OnFree(png_structp, png_voidp memory) { std::free(memory); }

// Returns true if the session is to be given up.
bool IsInterrupted(Session* session) {
  session->interrupted = session->input->Interrupted();
  return !session->interrupted.ok();
}

void OnRead(png_structp png, png_bytep out, std::size_t size) {
  auto* session = static_cast<Session*>(png_get_io_ptr(png));
  if (size > session->rest.size()) png_error(png, "unexpected end of file");
  std::memcpy(out, session->rest.data(), size);
  session->rest = session->rest.subspan(size);
}

// No ancillary chunk is needed: no transparency, profile, gamma or text changes the pixels.
void IgnoreAncillaryChunks(png_structp png) {
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
}

// Whatever is stored becomes 8-bit RGB, as Pillow's convert("RGB") makes it.
void SetTransforms(png_structp png, png_infop info) {
  const int color = png_get_color_type(png, info);
  if (color == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
  if (color == PNG_COLOR_TYPE_GRAY && png_get_bit_depth(png, info) < 8) {
    png_set_expand_gray_1_2_4_to_8(png);
  }
  if (png_get_bit_depth(png, info) == 16) png_set_strip_16(png);
  png_set_strip_alpha(png);  // a palette may have one too
  if ((color & PNG_COLOR_MASK_COLOR) == 0) png_set_gray_to_rgb(png);
}

// Reads up to the pixels. Returns false on an error, which is in the session.
bool ReadHeader(Session* session) {
  const ImageLimits& limits = session->input->limits;
  session->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, session, OnError, OnWarning,
                                          session, OnAllocate, OnFree);
  if (session->png == nullptr) return false;
  session->info = png_create_info_struct(session->png);
  if (session->info == nullptr) return false;
  if (setjmp(png_jmpbuf(session->png)) != 0) return false;
  png_set_read_fn(session->png, session, OnRead);
  png_set_user_limits(session->png, static_cast<png_uint_32>(limits.max_side),
                      static_cast<png_uint_32>(limits.max_side));
  png_set_chunk_cache_max(session->png, 16);
  png_set_chunk_malloc_max(session->png, static_cast<png_alloc_size_t>(kMaxMetadataBytes));
  IgnoreAncillaryChunks(session->png);
  png_read_info(session->png, session->info);
  SetTransforms(session->png, session->info);
  return true;
}

bool ReadPixels(Session* session, std::uint8_t* pixels, std::size_t stride) {
  if (setjmp(png_jmpbuf(session->png)) != 0) return false;
  const int num_passes = png_set_interlace_handling(session->png);
  png_read_update_info(session->png, session->info);
  if (png_get_rowbytes(session->png, session->info) != stride) png_error(session->png, "odd rows");
  const png_uint_32 height = png_get_image_height(session->png, session->info);
  for (int pass = 0; pass < num_passes; ++pass) {
    for (png_uint_32 y = 0; y < height; ++y) {
      if (y % kRowsPerCheck == 0 && IsInterrupted(session)) return false;
      png_read_row(session->png, pixels + y * stride, nullptr);
    }
  }
  png_read_end(session->png, nullptr);  // up to IEND
  return true;
}

// Returns why a session ended early.
Status WhyNot(const Session& session) {
  if (session.out_of_memory) throw std::bad_alloc();
  if (!session.interrupted.ok()) return session.interrupted;
  return ImageCorrupt(session.input->field, session.message);
}

}  // namespace

HeaderSize SizeOfPng(Bytes bytes) {
  constexpr std::size_t kSizeAt = kSignatureBytes + 8;  // behind the length and type of IHDR
  if (bytes.size() < kSizeAt + 8) return {};
  return {BigEndian32(bytes.data() + kSizeAt), BigEndian32(bytes.data() + kSizeAt + 4)};
}

StatusOr<CodecResult> DecodePng(const EncodedImage& input) {
  const Chunks chunks = ScanChunks(input.bytes);
  if (!chunks.has_header) return ImageCorrupt(input.field, "no IHDR");
  if (chunks.num > kMaxPngChunks) {
    return ImageTooComplex(input.field, "chunks of a PNG", kMaxPngChunks);
  }
  PG_RETURN_IF_ERROR(CheckImageSize(input, chunks.width, chunks.height));
  Session session;
  session.input = &input;
  session.rest = input.bytes;
  if (!ReadHeader(&session)) return WhyNot(session);
  CodecResult result;
  result.orientation = chunks.metadata.Orientation();
  result.image.width = static_cast<int>(chunks.width);
  result.image.height = static_cast<int>(chunks.height);
  const std::size_t stride = std::size_t{chunks.width} * 3;
  result.image.pixels.resize(stride * chunks.height);
  if (!ReadPixels(&session, result.image.pixels.data(), stride)) {
    return WhyNot(session);
  }
  return result;
}

}  // namespace paligemma::vision
