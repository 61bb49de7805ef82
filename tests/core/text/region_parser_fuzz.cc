// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: any output parses, and what is parsed keeps its promises. Each input byte is a
// token: 0-95 text, then locations and codes.
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/base/check.h"
#include "core/base/utf8.h"
#include "core/text/region_parser.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using paligemma::PixelBox;
  using paligemma::TokenId;
  paligemma::TokenSpec spec;
  spec.loc_first = 96, spec.loc_count = 1024;
  spec.seg_first = spec.loc_first + spec.loc_count, spec.seg_count = 128;
  const bool cut = size % 2 == 0;
  paligemma::RegionParser parser(spec, {.require_codes = size % 3 == 0});
  for (std::size_t i = 0; i < size; ++i) {
    TokenId token = data[i];
    if (token >= 176) token = spec.seg_first + token - 176;
    const std::string text(1, static_cast<char>(data[i] < 32 ? data[i] + 160 : data[i] + 32));
    parser.Append(token, token < 96 ? text : "");
  }
  parser.Finish(cut);
  for (const auto& object : parser.objects()) {
    PG_CHECK(object.bins[0] < object.bins[2] && object.bins[1] < object.bins[3]) << "inverted";
    PG_CHECK(object.locations_end == object.locations_begin + 4) << "not four locations";
    PG_CHECK(object.label_begin <= object.label_end) << "an inverted range";
    PG_CHECK(object.label_end <= static_cast<int>(size)) << "a range beyond the output";
    PG_CHECK(object.label.empty() || paligemma::ValidateUtf8(object.label, "label").ok())
        << "not UTF-8";
    const PixelBox box = paligemma::ToPixelBox(object.bins, 1000, 7);
    PG_CHECK(box.x_min >= 0 && box.x_max <= 1000 && box.y_max <= 7) << "outside of the image";
  }
  return 0;
}
