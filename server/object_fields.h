// SPDX-License-Identifier: Apache-2.0
// Objects and masks between core's words and the API's. Pure functions.
#ifndef SERVER_OBJECT_FIELDS_H_
#define SERVER_OBJECT_FIELDS_H_

#include "core/request/answer.h"
#include "paligemma/v1/types.pb.h"
#include "server/api/request_reader.h"

namespace paligemma {

// Version of the definition of DetectedObject.score: exp of the mean log-probability.
inline constexpr char kScoreDefinition[] = "mean-logprob-1";

// Tells core which masks and which objects the client wants.
void SetObjectOptions(const ResponseOptions& options, Request* request);

void FillBox(const Box& box, v1::NormalizedBox* out);
void FillBox(const PixelBox& box, v1::PixelBox* out);

// REQUIRES: the object's mask, if it has one, is rendered in the encoding of `format`.
void FillObject(const Object& object, v1::MaskFormat format, v1::DetectedObject* out);

}  // namespace paligemma

#endif  // SERVER_OBJECT_FIELDS_H_
