// SPDX-License-Identifier: Apache-2.0
// JPEG by libjpeg-turbo. Its errors leave by longjmp: functions that call setjmp hold no object
// with a destructor.
#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>

// After <cstdio>, as it asks.
#include <jpeglib.h>
// Its list of codes depends on jpeglib.h.
#include <jerror.h>

#include "core/vision/codec.h"

namespace paligemma::vision {
namespace {

constexpr std::size_t kMaxMarkers = 65'536;
constexpr int kReportsPerCheck = 16;

// What the markers alone tell.
struct Markers {
  int num_scans = 0;
  bool too_many = false;
  std::string exif;  // of all segments, put together
  Bytes xmp;         // of the last segment
};

bool StartsWith(Bytes bytes, std::string_view prefix) {
  return bytes.size() >= prefix.size() &&
         std::memcmp(bytes.data(), prefix.data(), prefix.size()) == 0;
}

// EXIF of more than 64 KiB is split over several segments.
void ReadApp1(Bytes segment, Markers* markers) {
  constexpr std::string_view kExif("Exif\0\0", 6), kXmp("http://ns.adobe.com/xap/1.0/\0", 29);
  if (StartsWith(segment, kExif)) {
    if (!markers->exif.empty()) segment = segment.subspan(kExif.size());
    if (markers->exif.size() + segment.size() <= std::size_t{kMaxMetadataBytes}) {
      markers->exif.append(reinterpret_cast<const char*>(segment.data()), segment.size());
    }
  } else if (StartsWith(segment, kXmp)) {
    markers->xmp = segment.subspan(kXmp.size());
  }
}

// Walks from marker to marker, through entropy-coded data too, to the end of the image.
Markers ScanMarkers(Bytes bytes) {
  constexpr std::uint8_t kSos = 0xDA, kEoi = 0xD9, kApp1 = 0xE1;
  Markers markers;
  std::size_t at = 2;  // behind SOI
  for (std::size_t num = 0; at + 1 < bytes.size(); ++num) {
    if (num > kMaxMarkers) {
      markers.too_many = true;
      return markers;
    }
    const void* found = std::memchr(bytes.data() + at, 0xFF, bytes.size() - at - 1);
    if (found == nullptr) return markers;
    at = static_cast<std::size_t>(static_cast<const std::uint8_t*>(found) - bytes.data());
    while (at + 1 < bytes.size() && bytes[at + 1] == 0xFF) ++at;  // fill bytes
    if (at + 1 >= bytes.size()) return markers;
    const std::uint8_t marker = bytes[at + 1];
    at += 2;
    const bool bare = marker <= 0x01 || (marker >= 0xD0 && marker <= 0xD8);  // 0: a stuffed 0xFF
    if (bare) {
      --num;  // a large image has many restarts
      continue;
    }
    if (marker == kEoi || at + 2 > bytes.size()) return markers;
    const std::size_t length = std::size_t{bytes[at]} << 8 | bytes[at + 1];
    if (length < 2 || length > bytes.size() - at) return markers;  // libjpeg says what is wrong
    if (marker == kSos) ++markers.num_scans;
    // Metadata stands before the first scan.
    if (marker == kApp1 && markers.num_scans == 0) {
      ReadApp1(bytes.subspan(at + 2, length - 2), &markers);
    }
    at += length;
  }
  return markers;
}

struct Session {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  std::jmp_buf jump{};
  char message[JMSG_LENGTH_MAX] = {};
  bool too_many_scans = false;
  bool out_of_memory = false;
  const EncodedImage* input = nullptr;
  Status interrupted;
  int num_reports = 0;  // of progress
  jpeg_progress_mgr progress{};

  ~Session() { jpeg_destroy_decompress(&info); }
};

Session* SessionOf(j_common_ptr info) { return static_cast<Session*>(info->client_data); }

[[noreturn]] void OnError(j_common_ptr info) {
  Session* session = SessionOf(info);
  info->err->format_message(info, session->message);
  // A progressive file needs its coefficients at once; libjpeg would move them to a file.
  session->out_of_memory =
      info->err->msg_code == JERR_OUT_OF_MEMORY || info->err->msg_code == JERR_NO_BACKING_STORE;
  std::longjmp(session->jump, 1);
}

// Warnings that mean that pixels were made up are errors here; oddities are not.
void OnMessage(j_common_ptr info, int level) {
  if (level >= 0) return;
  switch (info->err->msg_code) {
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_JPEG_EOF:
    case JWRN_MUST_RESYNC:
    case JWRN_NOT_SEQUENTIAL:
      OnError(info);
    default:
      break;
  }
}

// Returns true if the session is to be given up. Apart from OnProgress(), whose jump would pass
// over the destructor of the status.
bool IsInterrupted(Session* session) {
  if (++session->num_reports % kReportsPerCheck != 0) return false;
  session->interrupted = session->input->Interrupted();
  return !session->interrupted.ok();
}

// libjpeg calls this for each row that it hands out, and for each row of blocks of a scan that it
// reads before the first of them. The markers were counted before; the limit of scans also holds
// for those that only libjpeg sees.
void OnProgress(j_common_ptr info) {
  const auto* decompress = reinterpret_cast<j_decompress_ptr>(info);
  Session* session = SessionOf(info);
  session->too_many_scans = decompress->input_scan_number > kMaxJpegScans;
  if (session->too_many_scans || IsInterrupted(session)) std::longjmp(session->jump, 1);
}

// Returns false on an error, which is in the session.
bool ReadHeader(Session* session) {
  const Bytes bytes = session->input->bytes;
  session->info.err = jpeg_std_error(&session->errors);
  session->info.client_data = session;
  session->errors.error_exit = OnError;
  session->errors.emit_message = OnMessage;
  session->progress.progress_monitor = OnProgress;
  if (setjmp(session->jump) != 0) return false;
  jpeg_create_decompress(&session->info);
  session->info.client_data = session;
  session->info.progress = &session->progress;
  jpeg_mem_src(&session->info, bytes.data(), bytes.size());
  jpeg_read_header(&session->info, TRUE);
  return true;
}

// Pillow's CMYK to RGB. Adobe stores inverted values; as Pillow does, this takes every file with
// four components for one of Adobe's, with or without its marker.
void CmykToRgb(const std::uint8_t* cmyk, int width, std::uint8_t* rgb) {
  for (int x = 0; x < width; ++x, cmyk += 4, rgb += 3) {
    const int key = cmyk[3];
    for (int c = 0; c < 3; ++c) {
      const int product = (255 - cmyk[c]) * key + 128;
      const int value = key - ((product >> 8) + product) / 256;
      rgb[c] = static_cast<std::uint8_t>(value < 0 ? 0 : value);
    }
  }
}

// `row`: a scratch row of 4 bytes a pixel.
bool ReadPixels(Session* session, std::uint8_t* pixels, std::uint8_t* row) {
  jpeg_decompress_struct* info = &session->info;
  if (setjmp(session->jump) != 0) return false;
  const bool cmyk = info->num_components == 4;
  info->out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  info->dct_method = JDCT_ISLOW;
  info->do_fancy_upsampling = TRUE;
  jpeg_start_decompress(info);
  const std::size_t stride = std::size_t{info->output_width} * 3;
  while (info->output_scanline < info->output_height) {
    std::uint8_t* out = pixels + info->output_scanline * stride;
    JSAMPROW target = cmyk ? row : out;
    if (jpeg_read_scanlines(info, &target, 1) != 1) return false;
    if (cmyk) CmykToRgb(row, static_cast<int>(info->output_width), out);
  }
  jpeg_finish_decompress(info);  // reads up to EOI
  return true;
}

// Returns why a session ended early.
Status WhyNot(const Session& session) {
  if (session.out_of_memory) throw std::bad_alloc();
  if (!session.interrupted.ok()) return session.interrupted;
  const std::string_view field = session.input->field;
  if (session.too_many_scans) return ImageTooComplex(field, "scans of a JPEG", kMaxJpegScans);
  return ImageCorrupt(field, session.message);
}

}  // namespace

HeaderSize SizeOfJpeg(Bytes bytes) {
  constexpr int kMaxSegments = 256;
  std::size_t at = 2;  // behind SOI
  for (int i = 0; i < kMaxSegments && at + 9 <= bytes.size() && bytes[at] == 0xFF; ++i) {
    const std::uint8_t marker = bytes[at + 1];
    // SOF0 to SOF15, which share their numbers with three other kinds.
    const bool is_frame =
        marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
    const auto number = [&](std::size_t offset) {
      return std::int64_t{bytes[at + offset]} << 8 | bytes[at + offset + 1];
    };
    if (is_frame) return {number(7), number(5)};
    at += 2 + static_cast<std::size_t>(number(2));
  }
  return {};
}

StatusOr<CodecResult> DecodeJpeg(const EncodedImage& input) {
  const Markers markers = ScanMarkers(input.bytes);
  if (markers.num_scans > kMaxJpegScans) {
    return ImageTooComplex(input.field, "scans of a JPEG", kMaxJpegScans);
  }
  if (markers.too_many) {
    return ImageTooComplex(input.field, "markers of a JPEG", std::int64_t{kMaxMarkers});
  }
  const auto session = std::make_unique<Session>();
  session->input = &input;
  if (!ReadHeader(session.get())) return WhyNot(*session);
  const jpeg_decompress_struct& info = session->info;
  PG_RETURN_IF_ERROR(CheckImageSize(input, info.image_width, info.image_height));
  CodecResult result;
  result.orientation = FindOrientation(
      {Bytes(reinterpret_cast<const std::uint8_t*>(markers.exif.data()), markers.exif.size()),
       markers.xmp});
  result.image.width = static_cast<int>(info.image_width);
  result.image.height = static_cast<int>(info.image_height);
  result.image.pixels.resize(std::size_t{info.image_width} * info.image_height * 3);
  std::vector<std::uint8_t> row(std::size_t{info.image_width} * 4);
  if (!ReadPixels(session.get(), result.image.pixels.data(), row.data())) {
    return WhyNot(*session);
  }
  return result;
}

}  // namespace paligemma::vision
