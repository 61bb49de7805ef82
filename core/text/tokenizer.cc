// SPDX-License-Identifier: Apache-2.0
#include "core/text/tokenizer.h"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <cstdio>
#include <exception>

#include "core/base/utf8.h"

namespace paligemma {
namespace {

constexpr std::string_view kSpacePiece = "\xE2\x96\x81";  // U+2581

std::string LocationPiece(int index) {
  char text[16];
  std::snprintf(text, sizeof(text), "<loc%04d>", index);
  return text;
}

std::string SegmentPiece(int index) {
  char text[16];
  std::snprintf(text, sizeof(text), "<seg%03d>", index);
  return text;
}

// `text` begins with `name`, `num_digits` digits (0: one or more) and ">".
bool StartsWithNumbered(std::string_view text, std::string_view name, std::size_t num_digits) {
  if (!text.starts_with(name)) return false;
  const std::size_t end = text.find_first_not_of("0123456789", name.size());
  if (end == std::string_view::npos || text[end] != '>') return false;
  const std::size_t found = end - name.size();
  return num_digits == 0 ? found > 0 : found == num_digits;
}

bool StartsWithLocation(std::string_view text) {
  return StartsWithNumbered(text, "<loc", 4) || StartsWithNumbered(text, "<seg", 3);
}

// Of the special pieces that sentencepiece would match, those that no client may write.
bool StartsWithControl(std::string_view text) {
  constexpr std::string_view kControls[] = {
      "<image>", "<bos>", "<eos>", "<pad>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"};
  return StartsWithNumbered(text, "<unused", 0) ||
         std::any_of(std::begin(kControls), std::end(kControls),
                     [&](std::string_view control) { return text.starts_with(control); });
}

std::string PieceBytes(const sentencepiece::SentencePieceProcessor& processor, int id) {
  if (processor.IsControl(id)) return "";
  if (processor.IsUnknown(id)) return processor.DecodeIds({id});
  const std::string& piece = processor.IdToPiece(id);
  if (processor.IsByte(id)) {  // "<0xNN>"
    return std::string(1, static_cast<char>(std::stoi(piece.substr(3, 2), nullptr, 16)));
  }
  std::string bytes;
  for (std::size_t at = 0; at < piece.size();) {
    const std::size_t space = std::min(piece.find(kSpacePiece, at), piece.size());
    bytes.append(piece, at, space - at);
    if (space < piece.size()) bytes += ' ';
    at = space + kSpacePiece.size();
  }
  return bytes;
}

}  // namespace

class Tokenizer::Model {
 public:
  sentencepiece::SentencePieceProcessor processor;
};

StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::string& path,
                                                     const TokenSpec& spec) {
  auto model = std::make_unique<Model>();
  try {
    const auto loaded = model->processor.Load(path);
    if (!loaded.ok()) {
      return Status(StatusCode::kInvalidArgument,
                    path + ": is not a sentencepiece model: " + loaded.ToString());
    }
    std::unique_ptr<Tokenizer> tokenizer(new Tokenizer(std::move(model), spec));
    if (Status status = tokenizer->CheckIds(); !status.ok()) {
      return Status(status.code(), path + ": " + status.message());
    }
    return tokenizer;
  } catch (const std::exception& error) {
    return Status(StatusCode::kInvalidArgument, path + ": cannot be loaded: " + error.what());
  }
}

Tokenizer::Tokenizer(std::unique_ptr<Model> model, const TokenSpec& spec)
    : model_(std::move(model)), spec_(spec) {
  const int size = model_->processor.GetPieceSize();
  bytes_.reserve(static_cast<std::size_t>(size));
  for (int id = 0; id < size; ++id) bytes_.push_back(PieceBytes(model_->processor, id));
}

Tokenizer::~Tokenizer() = default;

Status Tokenizer::CheckIds() const {
  const auto& processor = model_->processor;
  const auto expect = [](const std::string& what, int found, int wanted) {
    if (found == wanted) return OkStatus();
    return Status(StatusCode::kInvalidArgument, what + " is " + std::to_string(found) +
                                                    ", but the manifest says " +
                                                    std::to_string(wanted));
  };
  PG_RETURN_IF_ERROR(expect("the number of pieces", processor.GetPieceSize(), spec_.vocab));
  PG_RETURN_IF_ERROR(expect("<pad>", processor.PieceToId("<pad>"), spec_.pad));
  PG_RETURN_IF_ERROR(expect("<eos>", processor.PieceToId("<eos>"), spec_.eos));
  PG_RETURN_IF_ERROR(expect("<bos>", processor.PieceToId("<bos>"), spec_.bos));
  std::vector<std::pair<std::string, int>> single = {{"\n", spec_.newline}};
  for (int i : {0, spec_.loc_count - 1}) {
    if (spec_.loc_count > 0) single.emplace_back(LocationPiece(i), spec_.loc_first + i);
  }
  for (int i : {0, spec_.seg_count - 1}) {
    if (spec_.seg_count > 0) single.emplace_back(SegmentPiece(i), spec_.seg_first + i);
  }
  for (const auto& [text, id] : single) {
    const std::string name = text == "\n" ? "the newline" : text;
    const std::vector<int> ids = processor.EncodeAsIds(text);
    if (ids.size() != 1) {  // also finds a dummy prefix
      return Status(StatusCode::kInvalidArgument,
                    name + " becomes " + std::to_string(ids.size()) + " tokens, not one");
    }
    PG_RETURN_IF_ERROR(expect(name, ids[0], id));
  }
  for (const std::string& piece : spec_.client_specials) {
    if (processor.EncodeAsIds(piece).size() != 1) {
      return Status(StatusCode::kInvalidArgument,
                    "tokens.client_specials holds " + piece + ", which is no token of it");
    }
  }
  // What a model with a dummy prefix, or one that squeezes spaces, would change.
  const std::string spaced = " a  b ";
  const std::vector<int> ids = processor.EncodeAsIds(spaced);
  if (Decode(ids) != spaced) {
    return Status(StatusCode::kInvalidArgument, "does not keep spaces as they are");
  }
  return OkStatus();
}

StatusOr<std::vector<TokenId>> Tokenizer::EncodePlain(std::string_view text,
                                                      std::span<const TextRange> trusted) const {
  return Encode(text, Specials::kNone, trusted);
}

StatusOr<std::vector<TokenId>> Tokenizer::EncodeWithLocations(
    std::string_view text, std::span<const TextRange> trusted) const {
  return Encode(text, Specials::kLocations, trusted);
}

StatusOr<std::vector<TokenId>> Tokenizer::Encode(std::string_view text, Specials specials,
                                                 std::span<const TextRange> trusted) const {
  std::vector<TokenId> tokens;
  std::size_t begin = 0;
  const auto allowed = [&](std::string_view rest) {
    return std::any_of(spec_.client_specials.begin(), spec_.client_specials.end(),
                       [&](const std::string& piece) { return rest.starts_with(piece); });
  };
  const auto encode_until = [&](std::size_t end) {
    std::vector<int> ids;
    const auto part = text.substr(begin, end - begin);
    const auto status = model_->processor.Encode({part.data(), part.size()}, &ids);
    tokens.insert(tokens.end(), ids.begin(), ids.end());
    begin = end;
    return status.ok();
  };
  try {
    for (std::size_t at = text.find('<'); at != std::string_view::npos;
         at = text.find('<', at + 1)) {
      const std::string_view rest = text.substr(at);
      const bool cut =
          StartsWithControl(rest) || (specials == Specials::kNone && StartsWithLocation(rest));
      const std::size_t end = text.find('>', at);  // there is one if `cut`
      const bool by_operator =
          std::any_of(trusted.begin(), trusted.end(),
                      [&](const TextRange& range) { return range.begin <= at && end < range.end; });
      if (cut && !by_operator && !allowed(rest) && !encode_until(at + 1))
        return InternalError("sentencepiece cannot encode a text");
    }
    if (!encode_until(text.size())) return InternalError("sentencepiece cannot encode a text");
  } catch (const std::exception& error) {
    return InternalError(std::string("sentencepiece: ") + error.what());
  }
  return tokens;
}

std::string_view Tokenizer::TokenBytes(TokenId token) const {
  if (token < 0 || token >= static_cast<TokenId>(bytes_.size())) return "";
  return bytes_[static_cast<std::size_t>(token)];
}

std::string Tokenizer::Decode(std::span<const TokenId> tokens) const {
  Utf8Assembler assembler;
  std::string text;
  for (TokenId token : tokens) text += assembler.Append(TokenBytes(token));
  return text + assembler.Flush();
}

}  // namespace paligemma
