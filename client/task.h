// SPDX-License-Identifier: Apache-2.0
// What all kinds of answers have in common.
#ifndef CLIENT_TASK_H_
#define CLIENT_TASK_H_

#include <string>

#include "google/protobuf/repeated_ptr_field.h"
#include "paligemma/v1/paligemma_service.pb.h"

namespace paligemma::client {

using Objects = google::protobuf::RepeatedPtrField<v1::DetectedObject>;

// The response inside, which the unary method returns.
const google::protobuf::Message& InnerResponse(const v1::TaskResponse& response);

const v1::GenerationInfo& InfoOf(const v1::TaskResponse& response);

// What Detect and Segment found, or the objects of Generate's best candidate; null: answers in
// text.
const Objects* ObjectsIn(const v1::TaskResponse& response);

// For people: the text, or a line for each object.
std::string Describe(const v1::TaskResponse& response);
// "x_min y_min x_max y_max  score  label".
std::string DescribeObject(const v1::DetectedObject& object);

}  // namespace paligemma::client

#endif  // CLIENT_TASK_H_
