// SPDX-License-Identifier: Apache-2.0
// Finds the objects in a model's output: "<locY0><locX0><locY1><locX1>[16 x <segNNN>] label ; ...".
//
// The grammar is that of the published parser (semantics 6.2): four contiguous locations, blanks,
// 16 contiguous codes or none, blanks, a label up to ";", "<", ">" or the next location. An object
// that fits the grammar only in part is counted as dropped, never guessed. The parser reads token
// ids, so that text which merely looks like "<loc0001>" stays text. Each sequence has its own
// parser. Not thread safe.
#ifndef CORE_TEXT_REGION_PARSER_H_
#define CORE_TEXT_REGION_PARSER_H_

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/types.h"
#include "core/bundle/manifest.h"
#include "core/request/answer.h"
#include "core/request/image.h"
#include "core/text/tokenizer.h"

namespace paligemma {

struct ParsedObject {
  static constexpr int kNumCodes = 16;
  // y_min, x_min, y_max, x_max in 1024ths of the image, as the model writes them; min < max.
  std::array<int, 4> bins{};
  std::string label;                                // trimmed; may be empty
  std::optional<std::array<int, kNumCodes>> codes;  // each in [0, 128)
  // Where in the output the tokens stand, as [begin, end): locations, and label (blanks and ";"
  // aside; begin == end when the label is empty).
  int locations_begin = 0, locations_end = 0;
  int label_begin = 0, label_end = 0;
};

class RegionParser {
 public:
  struct Options {
    bool require_codes = false;  // Segment: an object without codes is dropped
  };

  RegionParser(const TokenSpec& spec, Options options) : spec_(spec), options_(options) {}

  // `bytes` is what the token stands for (Tokenizer::TokenBytes). EOS is not appended.
  void Append(TokenId token, std::string_view bytes);
  // Ends the output. With `cut` (anything but EOS ended it) an open object is dropped: its label
  // may be half a word. Call once, last.
  void Finish(bool cut);

  // The objects that are complete, in order; only grows.
  const std::vector<ParsedObject>& objects() const { return objects_; }
  // Counts objects that were malformed, inverted, empty, cut off, exactly repeated, or without
  // required codes.
  int num_dropped() const { return num_dropped_; }

 private:
  void AppendLocation(int bin);
  void AppendCode(int code);
  void AppendText(std::string_view bytes);
  void Close();  // ends the open object, good or not
  void Drop();   // forgets and counts it

  const TokenSpec spec_;
  const Options options_;
  std::vector<ParsedObject> objects_;
  int num_dropped_ = 0;
  int num_tokens_ = 0;
  // The open object; none while num_locations_ == 0.
  ParsedObject open_;
  std::array<int, ParsedObject::kNumCodes> codes_{};
  int num_locations_ = 0, num_codes_ = 0;
};

// Parses a finished output.
struct ParsedRegions {
  std::vector<ParsedObject> objects;
  int num_dropped = 0;
};
ParsedRegions ParseRegions(const Tokenizer& tokenizer, std::span<const TokenId> tokens, bool cut,
                           RegionParser::Options options);

// normalized = bin / 1024; pixel = normalized * size, rounded half to even.
Box NormalizedBox(const std::array<int, 4>& bins);
PixelBox ToPixelBox(const std::array<int, 4>& bins, int width, int height);

}  // namespace paligemma

#endif  // CORE_TEXT_REGION_PARSER_H_
