// SPDX-License-Identifier: Apache-2.0
#include "core/vision/foreign_format.h"

#include <algorithm>
#include <string>

namespace paligemma::vision {
namespace {

constexpr std::size_t kHeadBytes = 1024;

struct Signature {
  std::size_t at;
  std::string_view bytes;
  std::string_view description;
};

constexpr std::string_view kRaw = "this is TIFF or a camera's raw file: convert it to PNG first";
constexpr std::string_view kHeic =
    "this is HEIC, which phones write: convert it to JPEG first, or let the phone save JPEG";
constexpr std::string_view kAvif = "this is AVIF: convert it to PNG first";
constexpr std::string_view kVideo = "this is a video: send one of its frames as JPEG or PNG";
constexpr std::string_view kJpeg2000 = "this is JPEG 2000: convert it to PNG first";
constexpr std::string_view kJpegXl = "this is JPEG XL: convert it to JPEG or PNG first";
constexpr std::string_view kNetpbm = "this is a Netpbm picture: convert it to PNG first";
constexpr std::string_view kMangled =
    "this is a picture that was read as text, which destroys it: open the file in binary mode";

using namespace std::string_view_literals;  // some signatures hold zeros

constexpr Signature kSignatures[] = {
    {0, "GIF8", "this is a GIF: send one of its frames as PNG"},
    {0, "BM", "this is BMP: convert it to PNG first"},
    {0, "II*\0"sv, kRaw},
    {0, "MM\0*"sv, kRaw},
    {0, "II+\0"sv, kRaw},
    {0, "MM\0+"sv, kRaw},
    {0, "FUJIFILM", kRaw},
    {4, "ftypheic", kHeic},
    {4, "ftypheix", kHeic},
    {4, "ftypheim", kHeic},
    {4, "ftypheis", kHeic},
    {4, "ftyphevc", kHeic},
    {4, "ftyphevx", kHeic},
    {4, "ftypmif1", kHeic},
    {4, "ftypmsf1", kHeic},
    {4, "ftypavif", kAvif},
    {4, "ftypavis", kAvif},
    {4, "ftypcrx ", kRaw},
    {4, "ftyp", kVideo},
    {4, "moov", kVideo},
    {0, "\x1A\x45\xDF\xA3", kVideo},
    {8, "AVI ", kVideo},
    {0, "\0\0\0\x0CjP  "sv, kJpeg2000},
    {0, "\xFF\x4F\xFF\x51", kJpeg2000},
    {0, "\xFF\x0A", kJpegXl},
    {0, "\0\0\0\x0CJXL "sv, kJpegXl},
    {0, "\0\0\1\0"sv, "this is an icon (ICO): convert it to PNG first"},
    {0, "8BPS", "this is a Photoshop file: export it as PNG first"},
    {0, "\x76\x2F\x31\x01", "this is OpenEXR: convert it to PNG first"},
    {0, "#?RADIANCE", "this is Radiance HDR: convert it to PNG first"},
    {128, "DICM", "this is DICOM: render it to PNG first"},
    {0, "\x93NUMPY", "this is a NumPy file: send its array as pixels, or convert it to PNG"},
    {0, "%PDF", "this is a PDF: render one of its pages to PNG first"},
    {0, "PK\3\4", "this is a ZIP archive: send the pictures in it one by one"},
    {0, "\x1F\x8B", "this is compressed with gzip: decompress it first"},
    {0, "version https://git-lfs",
     "this is a git-lfs pointer and not the picture: run git lfs pull"},
    {0, "\xC3\xBF\xC3\x98", kMangled},
    {0, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD", kMangled},
    {0, "\xEF\xBF\xBDPNG", kMangled},
    {0, "\xC2\x89PNG", kMangled},
    {0, "\x89PNG\n", kMangled},
    {0, "\x89PNG\r\r\n", kMangled},
    {0, "b'\\x", kMangled},
    {0, "b\"\\x", kMangled},
    {0, "data:", "this is a data: URI: send the bytes that it encodes"},
    {0, "http://", "this is an address: download the picture and send its bytes"},
    {0, "https://", "this is an address: download the picture and send its bytes"},
};

bool HasAt(std::string_view head, const Signature& signature) {
  return head.size() >= signature.at && head.substr(signature.at).starts_with(signature.bytes);
}

std::string Lowered(std::string_view text) {
  std::string lowered(text);
  for (char& c : lowered) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return lowered;
}

// Without a byte order mark and blanks at the front.
std::string_view SkipBlanks(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  return first == text.npos ? "" : text.substr(first);
}

int Base64Digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+' || c == '-') return 62;
  if (c == '/' || c == '_') return 63;
  return -1;
}

// Decodes the beginning of base64 text; line ends are skipped. Stops at anything else.
std::string DecodeBase64(std::string_view text) {
  std::string bytes;
  std::uint32_t bits = 0;
  int num_bits = 0;
  for (const char c : text) {
    if (c == '\r' || c == '\n') continue;
    const int digit = Base64Digit(c);
    if (digit < 0) break;
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    num_bits += 6;
    if (num_bits < 8) continue;
    num_bits -= 8;
    bytes.push_back(static_cast<char>(bits >> num_bits));
  }
  return bytes;
}

bool IsAcceptedPicture(std::string_view bytes) {
  return bytes.starts_with("\xFF\xD8\xFF") || bytes.starts_with("\x89PNG\r\n\x1A\n") ||
         (bytes.starts_with("RIFF") && bytes.size() >= 12 && bytes.substr(8, 4) == "WEBP");
}

std::string_view DescribeBase64(std::string_view text) {
  if (text.starts_with("\"") || text.starts_with("'")) text.remove_prefix(1);
  const std::string once = DecodeBase64(text);
  if (IsAcceptedPicture(once)) {
    return "this is base64 text of a picture (encoded twice?): decode it once more, then send it";
  }
  if (IsAcceptedPicture(DecodeBase64(once))) {
    return "this is base64 text of base64 text of a picture: decode it twice, then send it";
  }
  return "";
}

std::string_view DescribeText(std::string_view head) {
  const std::string_view text = SkipBlanks(head);
  if (IsAcceptedPicture(text)) {
    return "this is a picture with blanks before its first byte: send the file as it is";
  }
  if (const std::string_view base64 = DescribeBase64(text); !base64.empty()) return base64;
  const std::string lowered = Lowered(text);
  for (const char* tag : {"<!doctype html", "<html", "<head", "<body", "<script", "<!--"}) {
    if (lowered.starts_with(tag)) {
      return "this is HTML, a web page and not a picture: check the address that it came from";
    }
  }
  if (lowered.find("<svg") != lowered.npos) return "this is SVG: render it to PNG first";
  if (lowered.starts_with("<")) {
    return "this is XML and not a picture: it may be the error of a download";
  }
  if (lowered.starts_with("{") || lowered.starts_with("[")) {
    return "this is JSON and not a picture: it may be the error of a download";
  }
  return "";
}

bool IsText(std::string_view head) {
  return std::all_of(head.begin(), head.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x20 || byte == '\t' || byte == '\r' || byte == '\n';
  });
}

}  // namespace

std::string_view DescribeForeignFormat(Bytes bytes) {
  const std::string_view head(reinterpret_cast<const char*>(bytes.data()),
                              std::min(bytes.size(), kHeadBytes));
  for (const Signature& signature : kSignatures) {
    if (HasAt(head, signature)) return signature.description;
  }
  if (head.size() > 2 && head[0] == 'P' && head[1] >= '1' && head[1] <= '7' &&
      (head[2] == '\n' || head[2] == ' ')) {
    return kNetpbm;
  }
  if (const std::string_view text = DescribeText(head); !text.empty()) return text;
  if (std::all_of(head.begin(), head.end(), [](char c) { return c == 0; })) {
    return "these are zeros: the file is empty or was not written to its end";
  }
  if (IsText(head)) return "this is text and not a picture";
  return "this is no picture of a known format";
}

}  // namespace paligemma::vision
