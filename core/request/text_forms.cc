// SPDX-License-Identifier: Apache-2.0
#include "core/request/text_forms.h"

#include <algorithm>
#include <utility>

namespace paligemma {
namespace {

constexpr std::string_view kBlanks = " \t\n\r\v\f";

// Subtags of one language, or of a macrolanguage and the member that stands for it, by IANA's
// registry of BCP 47 ("Preferred-Value" and "Macrolanguage"); fil and tl by Unicode's aliases. The
// first of a line is the name that the lines are compared by.
constexpr std::string_view kSameLanguage[][4] = {
    {"he", "iw"},                // Hebrew
    {"id", "in"},                // Indonesian
    {"yi", "ji", "ydd"},         // Yiddish
    {"jv", "jw"},                // Javanese
    {"ro", "mo"},                // Romanian
    {"no", "nb", "nn"},          // Norwegian
    {"fil", "tl"},               // Filipino, Tagalog
    {"quz", "qu"},               // Cusco Quechua
    {"zh", "cmn"},               // Chinese
    {"ar", "arb"},               // Arabic
    {"fa", "pes", "prs"},        // Persian
    {"sw", "swh"},               // Swahili
    {"ms", "zsm"},               // Malay
    {"et", "ekk"},               // Estonian
    {"lv", "lvs"},               // Latvian
    {"ne", "npi"},               // Nepali
    {"uz", "uzn"},               // Uzbek
    {"mn", "khk"},               // Mongolian
    {"sq", "als"},               // Albanian
    {"az", "azj"},               // Azerbaijani
    {"ku", "kmr"},               // Kurdish
    {"mg", "plt"},               // Malagasy
    {"or", "ory"},               // Odia
    {"ps", "pbu", "pst", "pbt"}  // Pashto
};

std::string PrimarySubtag(std::string_view code) {
  std::string primary(code.substr(0, code.find_first_of("-_")));
  for (char& c : primary) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return primary;
}

std::string_view CanonicalSubtag(std::string_view subtag) {
  for (const auto& line : kSameLanguage) {
    if (!subtag.empty() && std::find(std::begin(line), std::end(line), subtag) != std::end(line))
      return line[0];
  }
  return subtag;
}

std::vector<std::string> SplitAt(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (true) {
    const std::size_t end = text.find(separator);
    const std::string_view part = TrimBlanks(text.substr(0, end));
    if (!part.empty()) parts.emplace_back(part);
    if (end == text.npos) return parts;
    text.remove_prefix(end + 1);
  }
}

}  // namespace

void NormalizeLineEnds(std::string* text) {
  std::size_t out = 0;
  for (std::size_t in = 0; in < text->size(); ++in) {
    const char c = (*text)[in];
    if (c == '\r' && in + 1 < text->size() && (*text)[in + 1] == '\n') continue;
    (*text)[out++] = c == '\r' ? '\n' : c;
  }
  text->resize(out);
}

std::string_view TrimBlanks(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == text.npos) return "";
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

int TakeFrontMarks(std::string* prompt) {
  constexpr std::string_view kImage = "<image>", kBos = "<bos>";
  const auto behind = [](std::string_view text,
                         std::string_view mark) -> std::optional<std::size_t> {
    const std::size_t at = std::min(text.find_first_not_of(kBlanks), text.size());
    if (!text.substr(at).starts_with(mark)) return std::nullopt;
    return at + mark.size();
  };
  std::string_view rest = *prompt;
  int images = 0;
  for (auto end = behind(rest, kImage); end.has_value(); end = behind(rest, kImage)) {
    rest.remove_prefix(*end);
    ++images;
  }
  for (auto end = behind(rest, kBos); end.has_value(); end = behind(rest, kBos)) {
    rest.remove_prefix(*end);
  }
  prompt->erase(0, prompt->size() - rest.size());
  return images;
}

std::optional<std::string> FindLanguage(std::string_view code,
                                        const std::vector<std::string>& known) {
  const std::string primary = PrimarySubtag(code);
  if (std::find(known.begin(), known.end(), primary) != known.end()) return primary;
  const std::string_view canonical = CanonicalSubtag(primary);
  for (const std::string& other : known) {
    if (CanonicalSubtag(other) == canonical) return other;
  }
  return std::nullopt;
}

std::optional<WrittenTask> FindWrittenTask(std::string_view prompt, const Manifest& manifest) {
  while (prompt.ends_with('\n')) prompt.remove_suffix(1);
  for (const Task task : {Task::kDetect, Task::kSegment}) {
    const auto found = manifest.tasks.find(task);
    if (found == manifest.tasks.end()) continue;
    const std::string_view form = found->second.prompt;
    const std::string_view placeholder = TraitsOf(task).placeholder;
    const std::size_t at = form.find(placeholder);
    if (at == form.npos || at == 0) continue;  // bare labels look like any other prompt
    const std::string_view head = form.substr(0, at), tail = form.substr(at + placeholder.size());
    if (prompt.size() <= head.size() + tail.size() || !prompt.starts_with(head) ||
        !prompt.ends_with(tail)) {
      continue;
    }
    prompt.remove_prefix(head.size());
    prompt.remove_suffix(tail.size());
    const std::string_view separator = TrimBlanks(found->second.label_separator);
    WrittenTask written{task, SplitAt(prompt, separator.size() == 1 ? separator[0] : ';')};
    if (!written.labels.empty()) return written;
    return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace paligemma
