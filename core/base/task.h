// SPDX-License-Identifier: Apache-2.0
// A Task is what a client asks for and a model was tuned for. One table holds what the code needs
// to know about each task, such as whether its request has labels.
//
// The file lies in core/base because the manifest, the metrics and the requests all name tasks.
#ifndef CORE_BASE_TASK_H_
#define CORE_BASE_TASK_H_

#include <array>
#include <cstddef>
#include <string_view>

namespace paligemma {

enum class Task { kCaption, kAnswer, kDetect, kSegment, kRead, kGenerate };
inline constexpr int kNumTasks = 6;

struct TaskTraits {
  Task task;
  std::string_view name;          // in the API, and the name of its RPC: "ReadText"
  std::string_view manifest_key;  // under "methods" in manifest.json
  std::string_view field;         // in the messages TaskRequest and TaskResponse

  // What its request has.
  bool several_images;           // the field "images"; otherwise the field "image"
  bool has_language;             // the field "language_code"
  bool has_labels;               // the field "labels"
  std::string_view text_field;   // the field that holds free text; empty: none
  std::string_view placeholder;  // what its prompt template must hold; empty: nothing

  // What its answer has.
  bool several_candidates;  // room for more than one
  bool has_objects;         // the answer is a list of objects, each with a score
  bool has_masks;           // each object has a mask
};

// In the order of the enumeration.
inline constexpr std::array<TaskTraits, kNumTasks> kTasks = {{
    {.task = Task::kCaption,
     .name = "Caption",
     .manifest_key = "caption",
     .field = "caption",
     .several_images = true,
     .has_language = true,
     .has_labels = false,
     .text_field = "",
     .placeholder = "",
     .several_candidates = true,
     .has_objects = false,
     .has_masks = false},
    {.task = Task::kAnswer,
     .name = "Answer",
     .manifest_key = "answer",
     .field = "answer",
     .several_images = true,
     .has_language = true,
     .has_labels = false,
     .text_field = "question",
     .placeholder = "{question}",
     .several_candidates = true,
     .has_objects = false,
     .has_masks = false},
    {.task = Task::kDetect,
     .name = "Detect",
     .manifest_key = "detect",
     .field = "detect",
     .several_images = false,
     .has_language = false,
     .has_labels = true,
     .text_field = "",
     .placeholder = "{labels}",
     .several_candidates = false,
     .has_objects = true,
     .has_masks = false},
    {.task = Task::kSegment,
     .name = "Segment",
     .manifest_key = "segment",
     .field = "segment",
     .several_images = false,
     .has_language = false,
     .has_labels = true,
     .text_field = "",
     .placeholder = "{labels}",
     .several_candidates = false,
     .has_objects = true,
     .has_masks = true},
    {.task = Task::kRead,
     .name = "ReadText",
     .manifest_key = "read",
     .field = "read_text",
     .several_images = false,
     .has_language = false,
     .has_labels = false,
     .text_field = "",
     .placeholder = "",
     .several_candidates = false,
     .has_objects = false,
     .has_masks = false},
    {.task = Task::kGenerate,
     .name = "Generate",
     .manifest_key = "generate",
     .field = "generate",
     .several_images = true,
     .has_language = false,
     .has_labels = false,
     .text_field = "prompt",
     .placeholder = "",
     .several_candidates = true,
     .has_objects = false,
     .has_masks = false},
}};

constexpr const TaskTraits& TraitsOf(Task task) { return kTasks[static_cast<std::size_t>(task)]; }

constexpr std::string_view TaskName(Task task) { return TraitsOf(task).name; }

static_assert(
    [] {
      for (std::size_t i = 0; i < kTasks.size(); ++i) {
        if (kTasks[i].task != static_cast<Task>(i)) return false;
      }
      return true;
    }(),
    "kTasks is not in the order of Task");

}  // namespace paligemma

#endif  // CORE_BASE_TASK_H_
