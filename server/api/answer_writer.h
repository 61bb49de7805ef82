// SPDX-License-Identifier: Apache-2.0
// Core's results into the API's responses: candidates, objects with boxes, scores and masks, and
// how it was all produced. Thread safe; runs on the engine's delivery threads.
#ifndef SERVER_API_ANSWER_WRITER_H_
#define SERVER_API_ANSWER_WRITER_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/bundle/manifest.h"
#include "core/request/request.h"
#include "paligemma/v1/paligemma_service.pb.h"
#include "server/api/request_reader.h"

namespace paligemma {

// What the writer needs of the request once it has gone to the engine.
struct ResponseContext {
  std::string request_id;
  Task task = Task::kGenerate;
  std::vector<std::string> labels;
  bool separate_labels = false;
  bool sampled = false;  // so that the seed matters
  ResponseOptions options;
};

// Version of the definition of DetectedObject.score: exp of the mean log-probability.
inline constexpr char kScoreDefinition[] = "mean-logprob-1";

// Writes an object. REQUIRES: its mask, if it has one, is rendered.
void FillObject(const Object& object, v1::DetectedObject* out);

void FillTiming(const RequestTiming& timing, v1::Timing* out);

// Where a task's response says how it was made.
v1::GenerationInfo* InfoOf(v1::TaskResponse* response);
template <typename Response>
v1::GenerationInfo* InfoOf(Response* response) {
  return response->mutable_info();
}

class AnswerWriter {
 public:
  struct Options {
    const Manifest* manifest = nullptr;  // not owned
    std::string model_name;              // "models/..."
    // The bytes that a token stands for (Tokenizer::TokenBytes).
    std::function<std::string_view(TokenId)> token_bytes;
  };

  explicit AnswerWriter(Options options) : options_(std::move(options)) {}

  Status Write(const ResponseContext& context, Answer result, v1::CaptionResponse* response) const;
  Status Write(const ResponseContext& context, Answer result, v1::AnswerResponse* response) const;
  Status Write(const ResponseContext& context, Answer result, v1::DetectResponse* response) const;
  Status Write(const ResponseContext& context, Answer result, v1::SegmentResponse* response) const;
  Status Write(const ResponseContext& context, Answer result, v1::ReadTextResponse* response) const;
  Status Write(const ResponseContext& context, Answer result, v1::GenerateResponse* response) const;
  // The task's own response, inside.
  Status Write(const ResponseContext& context, Answer result, v1::TaskResponse* response) const;

  // Log-probabilities of tokens, with their bytes.
  void AddLogprobs(const std::vector<TokenLogprob>& logprobs,
                   google::protobuf::RepeatedPtrField<v1::TokenLogprob>* out) const;

 private:
  void FillCandidate(const ResponseContext& context, const Candidate& candidate,
                     v1::Candidate* out) const;
  void FillInfo(const ResponseContext& context, const Answer& result, const Candidate& best,
                v1::GenerationInfo* info) const;
  // Response::objects, absent labels and dropped count of Detect and Segment.
  template <typename Response>
  Status WriteObjects(const ResponseContext& context, const Answer& result,
                      Response* response) const;
  template <typename Response>
  Status WriteText(const ResponseContext& context, const Answer& result, std::string* text,
                   Response* response) const;
  const Options options_;
};

}  // namespace paligemma

#endif  // SERVER_API_ANSWER_WRITER_H_
