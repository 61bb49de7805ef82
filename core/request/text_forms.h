// SPDX-License-Identifier: Apache-2.0
// The forms in which people write prompts, labels and languages, and the one form of each that the
// model was trained with. ValidateRequest() applies them, so that every client gets the same
// tokens; GenerationInfo.prompt shows the result. Pure functions; thread safe.
#ifndef CORE_REQUEST_TEXT_FORMS_H_
#define CORE_REQUEST_TEXT_FORMS_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/bundle/manifest.h"

namespace paligemma {

// Makes each line end "\n", whether it was written as "\r\n" or "\r".
void NormalizeLineEnds(std::string* text);

// Returns the text without blanks at both ends.
std::string_view TrimBlanks(std::string_view text);

// Takes off the marks that the processor of Hugging Face asks for at the front of a prompt: any
// number of "<image>", with or without blanks between them, then "<bos>". Returns how many
// "<image>" there were. Text behind the marks keeps its blanks, as that processor keeps them.
int TakeFrontMarks(std::string* prompt);

// Returns that one of `known` which means the language `code`, or nothing. The primary subtag
// counts, in any case; a deprecated subtag means its successor, and a language that the registry of
// BCP 47 puts under a macrolanguage may stand for it: "he" finds "iw", "nb" finds "no", "tl" finds
// "fil", and the other way round.
std::optional<std::string> FindLanguage(std::string_view code,
                                        const std::vector<std::string>& known);

// A raw prompt that is written as Detect or Segment write theirs.
struct WrittenTask {
  Task task = Task::kDetect;
  std::vector<std::string> labels;
};
// Recognises such a prompt by the templates of the model, for those of the two tasks that it has.
std::optional<WrittenTask> FindWrittenTask(std::string_view prompt, const Manifest& manifest);

}  // namespace paligemma

#endif  // CORE_REQUEST_TEXT_FORMS_H_
