// SPDX-License-Identifier: Apache-2.0
#include "core/text/region_parser.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/base/utf8.h"

namespace paligemma {
namespace {

constexpr int kNumLocations = 4;
constexpr std::string_view kBlanks = " \t\n\r\v\f";

bool IsBlank(char c) { return kBlanks.find(c) != std::string_view::npos; }

// Trimmed, and mended where the model wrote bytes that are no UTF-8.
std::string CleanLabel(std::string_view raw) {
  const std::size_t begin = raw.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return "";
  Utf8Assembler assembler;
  std::string label =
      assembler.Append(raw.substr(begin, raw.find_last_not_of(kBlanks) + 1 - begin));
  return label + assembler.Flush();
}

bool Same(const ParsedObject& a, const ParsedObject& b) {
  return a.bins == b.bins && a.label == b.label && a.codes == b.codes;
}

}  // namespace

void RegionParser::Append(TokenId token, std::string_view bytes) {
  if (token >= spec_.loc_first && token < spec_.loc_first + spec_.loc_count) {
    AppendLocation(token - spec_.loc_first);
  } else if (token >= spec_.seg_first && token < spec_.seg_first + spec_.seg_count) {
    AppendCode(token - spec_.seg_first);
  } else {
    AppendText(bytes);
  }
  ++num_tokens_;
}

void RegionParser::AppendLocation(int bin) {
  if (num_locations_ == kNumLocations) Close();
  if (num_locations_ == 0) {
    open_ = ParsedObject();
    open_.locations_begin = num_tokens_;
    num_codes_ = 0;
  }
  open_.bins[static_cast<std::size_t>(num_locations_)] = bin;
  ++num_locations_;
  open_.locations_end = num_tokens_ + 1;
}

void RegionParser::AppendCode(int code) {
  if (num_locations_ == 0) return;
  if (num_locations_ < kNumLocations) {
    Drop();
    return;
  }
  const bool label_begun = open_.label_end > 0;
  if (label_begun || num_codes_ == ParsedObject::kNumCodes) {
    Close();  // codes behind the label belong to nothing
    return;
  }
  open_.label.clear();  // blanks
  codes_[static_cast<std::size_t>(num_codes_)] = code;
  ++num_codes_;
}

void RegionParser::AppendText(std::string_view bytes) {
  for (const char c : bytes) {
    if (num_locations_ == 0) return;
    if (num_locations_ < kNumLocations ||
        (num_codes_ > 0 && num_codes_ < ParsedObject::kNumCodes)) {
      Drop();
      return;
    }
    if (c == ';' || c == '<' || c == '>') {
      Close();
      return;
    }
    open_.label += c;
    if (IsBlank(c)) continue;
    if (open_.label_end == 0) open_.label_begin = num_tokens_;
    open_.label_end = num_tokens_ + 1;
  }
}

void RegionParser::Close() {
  const bool partial =
      num_locations_ < kNumLocations || (num_codes_ > 0 && num_codes_ < ParsedObject::kNumCodes);
  const bool inverted = open_.bins[0] >= open_.bins[2] || open_.bins[1] >= open_.bins[3];
  if (partial || inverted || (options_.require_codes && num_codes_ == 0)) {
    Drop();
    return;
  }
  open_.label = CleanLabel(open_.label);
  if (num_codes_ > 0) open_.codes = codes_;
  if (open_.label.empty()) open_.label_begin = open_.label_end = open_.locations_end;
  if (std::any_of(objects_.begin(), objects_.end(),
                  [&](const ParsedObject& object) { return Same(object, open_); })) {
    Drop();
    return;
  }
  objects_.push_back(std::exchange(open_, ParsedObject()));
  num_locations_ = 0;
}

void RegionParser::Drop() {
  ++num_dropped_;
  num_locations_ = 0;
}

void RegionParser::Finish(bool cut) {
  if (num_locations_ == 0) return;
  if (cut) {
    Drop();
  } else {
    Close();
  }
}

ParsedRegions ParseRegions(const Tokenizer& tokenizer, std::span<const TokenId> tokens, bool cut,
                           RegionParser::Options options) {
  RegionParser parser(tokenizer.spec(), options);
  for (TokenId token : tokens) parser.Append(token, tokenizer.TokenBytes(token));
  parser.Finish(cut);
  return ParsedRegions{parser.objects(), parser.num_dropped()};
}

Box NormalizedBox(const std::array<int, 4>& bins) {
  constexpr float kBins = 1024;
  return Box{.x_min = static_cast<float>(bins[1]) / kBins,
             .y_min = static_cast<float>(bins[0]) / kBins,
             .x_max = static_cast<float>(bins[3]) / kBins,
             .y_max = static_cast<float>(bins[2]) / kBins};
}

PixelBox ToPixelBox(const std::array<int, 4>& bins, int width, int height) {
  const auto pixel = [](int bin, int size) {
    return static_cast<int>(std::nearbyint(bin / 1024.0 * size));
  };
  return PixelBox{.x_min = pixel(bins[1], width),
                  .y_min = pixel(bins[0], height),
                  .x_max = pixel(bins[3], width),
                  .y_max = pixel(bins[2], height)};
}

}  // namespace paligemma
