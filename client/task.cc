// SPDX-License-Identifier: Apache-2.0
#include "client/task.h"

#include <cstdio>

namespace paligemma::client {

namespace {

// Calls `visit` with the response inside; where none is set, with an empty caption.
template <typename Visitor>
decltype(auto) Visit(const v1::TaskResponse& response, Visitor visit) {
  switch (response.result_case()) {
    case v1::TaskResponse::kAnswer:
      return visit(response.answer());
    case v1::TaskResponse::kDetect:
      return visit(response.detect());
    case v1::TaskResponse::kSegment:
      return visit(response.segment());
    case v1::TaskResponse::kReadText:
      return visit(response.read_text());
    case v1::TaskResponse::kGenerate:
      return visit(response.generate());
    default:
      return visit(response.caption());
  }
}

}  // namespace

const google::protobuf::Message& InnerResponse(const v1::TaskResponse& response) {
  return Visit(response,
               [](const auto& inner) -> const google::protobuf::Message& { return inner; });
}

const v1::GenerationInfo& InfoOf(const v1::TaskResponse& response) {
  return Visit(response,
               [](const auto& inner) -> const v1::GenerationInfo& { return inner.info(); });
}

const Objects* ObjectsIn(const v1::TaskResponse& response) {
  if (response.has_detect()) return &response.detect().objects();
  if (response.has_segment()) return &response.segment().objects();
  if (response.has_generate() && response.generate().candidates_size() > 0) {
    return &response.generate().candidates(0).objects();
  }
  return nullptr;
}

std::string DescribeObject(const v1::DetectedObject& object) {
  const v1::PixelBox& box = object.pixel_box();
  char numbers[96];
  std::snprintf(numbers, sizeof(numbers), "%5d %5d %5d %5d  %.2f  ", box.x_min(), box.y_min(),
                box.x_max(), box.y_max(), object.score());
  return numbers + object.label();
}

std::string Describe(const v1::TaskResponse& response) {
  std::string text;
  const auto add_line = [&text](const std::string& line) {
    text.append(text.empty() ? "" : "\n").append(line);
  };
  switch (response.result_case()) {
    case v1::TaskResponse::kDetect:
    case v1::TaskResponse::kSegment:
      for (const v1::DetectedObject& object : *ObjectsIn(response)) {
        add_line(DescribeObject(object));
      }
      return text.empty() ? "nothing found" : text;
    case v1::TaskResponse::kAnswer:
      return response.answer().answer();
    case v1::TaskResponse::kReadText:
      return response.read_text().text();
    case v1::TaskResponse::kGenerate:
      for (const v1::Candidate& candidate : response.generate().candidates()) {
        add_line(candidate.text());
      }
      return text;
    default:
      return response.caption().caption();
  }
}

}  // namespace paligemma::client
