// SPDX-License-Identifier: Apache-2.0
// Turns core's answers into responses of the API: candidates, objects with boxes, scores and masks,
// and how they were produced. Thread safe; runs on the engine's delivery threads.
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

// The parts of a request that the writer needs after the request has gone to the engine.
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

// Returns the part of a task's response that says how the answer was made.
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
    // Returns the bytes of a token (Tokenizer::TokenBytes).
    std::function<std::string_view(TokenId)> token_bytes;
  };

  explicit AnswerWriter(Options options) : options_(std::move(options)) {}

  Status Write(const ResponseContext& context, Answer result, v1::CaptionResponse* response) const;
  Status Write(const ResponseContext& context, Answer result, v1::AnswerResponse* response) const;
  Status Write(const ResponseContext& context, Answer result, v1::DetectResponse* response) const;
  Status Write(const ResponseContext& context, Answer result, v1::SegmentResponse* response) const;
  Status Write(const ResponseContext& context, Answer result, v1::ReadTextResponse* response) const;
  Status Write(const ResponseContext& context, Answer result, v1::GenerateResponse* response) const;
  // Writes the response of the task inside the streamed one.
  Status Write(const ResponseContext& context, Answer result, v1::TaskResponse* response) const;

  // Adds the log-probabilities of tokens, with the tokens' bytes.
  void AddLogprobs(const std::vector<TokenLogprob>& logprobs,
                   google::protobuf::RepeatedPtrField<v1::TokenLogprob>* out) const;

 private:
  void FillCandidate(const ResponseContext& context, const Candidate& candidate,
                     v1::Candidate* out) const;
  void FillInfo(const ResponseContext& context, const Answer& result, const Candidate& best,
                v1::GenerationInfo* info) const;
  // Writes objects, absent labels and the number of dropped objects for Detect and Segment.
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
