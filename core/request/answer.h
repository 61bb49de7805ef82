// SPDX-License-Identifier: Apache-2.0
// What a client gets, in core's own words: text, objects and masks, how each sequence ended and
// what the request cost. Values, but for masks, which the objects of a stream and of its result
// share.
#ifndef CORE_REQUEST_ANSWER_H_
#define CORE_REQUEST_ANSWER_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/base/status.h"
#include "core/base/types.h"
#include "core/request/image.h"

namespace paligemma {

struct Box {  // normalized to [0, 1]
  float x_min = 0, y_min = 0, x_max = 0, y_max = 0;
};

enum class FinishReason { kNone, kStop, kMaxTokens, kTimeBudget, kMaxObjects };

struct TokenAlternative {
  TokenId token = 0;
  float logprob = 0;
};

struct TokenLogprob {
  TokenId token = 0;
  float logprob = 0;
  std::vector<TokenAlternative> alternatives;  // most probable first
};

// kNone: no masks at all. kCodes: the model's own 16 codes, not rendered.
enum class MaskEncoding { kNone, kPng, kRle, kPolygon, kSoft, kCodes };

struct MaskOptions {
  MaskEncoding encoding = MaskEncoding::kPng;
  bool whole_image = false;  // the mask covers the image, not only the box
  float threshold = 0.5f;    // of the probability, in (0, 1)
};

struct RenderedMask {
  PixelBox region;              // what the mask covers: the box, cut to the image, or the image
  std::int64_t num_pixels = 0;  // that belong
  // One of these, by the encoding; none for a region without pixels.
  std::string png;         // 8-bit grey, 0 or 255, of the region's size
  std::string rle_counts;  // COCO's compressed string, column-major; its size is the region's
  // Rings x0, y0, x1, y1, ... through the centres of border pixels, in whole pixels of the image;
  // outer contours and holes, to fill by the even-odd rule.
  std::vector<std::vector<float>> rings;
  std::string soft;  // 64 * 64 bytes over the box: round(255 * clip((value + 1) / 2, 0, 1))
};

inline constexpr int kNumMaskCodes = 16;

// A mask that the client wants. Whoever renders it does so once, before the object is shown.
struct ObjectMask {
  MaskEncoding encoding = MaskEncoding::kCodes;
  std::array<int, kNumMaskCodes> codes{};  // each in [0, 128)
  bool is_rendered = false;
  RenderedMask rendered;  // with kCodes only the region: the pixel box as it is
};

// Something that the model found in the picture.
struct Object {
  std::string label;  // trimmed; may be empty
  Box box;
  PixelBox pixel_box;
  // exp of the mean log-probability of its tokens; absent without log-probabilities.
  std::optional<float> score, box_score, label_score;
  std::optional<int> label_index;    // in Request::labels, compared without case
  std::shared_ptr<ObjectMask> mask;  // null: none is wanted, or the model gave no codes
};

// One sequence's outcome. Tokens and text are without EOS and without a matched stop sequence.
struct Candidate {
  int prompt_index = 0;  // with separate labels, the label; else 0
  int candidate_index = 0;
  std::string text;
  std::vector<TokenId> tokens;
  std::vector<TokenLogprob> logprobs;  // one per token of `tokens` when asked for
  std::vector<Object> objects;         // of the tasks that find objects, in order
  int num_dropped_objects = 0;         // malformed, cut off, repeated, or below the least score
  float sum_logprob = 0;               // EOS included; meaningful with log-probabilities
  FinishReason finish = FinishReason::kNone;
  std::string matched_stop;
  int num_generated = 0;  // EOS included
};

struct RequestTiming {
  Duration queue{}, preprocess{}, vision{}, prefill{}, decode{}, postprocess{}, first_token{},
      total{};
};

struct RequestUsage {
  int num_images = 0, image_tokens = 0, cached_image_tokens = 0;
  int prompt_tokens = 0;  // image and text
  int cached_prompt_tokens = 0;
  int output_tokens = 0;  // over all sequences
};

struct Answer {
  std::vector<Candidate> candidates;  // by prompt, then by candidate as drawn
  std::vector<std::string> prompts;   // text prefixes as sent to the model, without image tokens
  std::vector<ImageInfo> images;
  std::uint64_t seed = 0;
  RequestUsage usage;
  RequestTiming timing;
};

// What was added to one sequence: text in whole UTF-8 characters, never part of a stop sequence;
// and, for a streamed request, objects whose masks are rendered.
struct AnswerDelta {
  int prompt_index = 0, candidate_index = 0;
  std::string text;
  std::vector<TokenId> tokens;
  std::vector<TokenLogprob> logprobs;
  // By prompt: the objects of later prompts come once all sequences have ended.
  std::vector<Object> objects;
};

// Receives the answer to one request. Calls come one at a time, from threads of the engine's
// delivery; none may block. Exactly one OnDone ends the request, also after a cancel, a fault or a
// drain; the sink is not touched after it.
class ResponseSink {
 public:
  virtual ~ResponseSink() = default;
  virtual void OnDelta(AnswerDelta /*delta*/) {}
  // A result also comes with DEADLINE_EXCEEDED and the like: its usage and timing hold what was
  // spent.
  virtual void OnDone(Status status, Answer result) = 0;
};

}  // namespace paligemma

#endif  // CORE_REQUEST_ANSWER_H_
