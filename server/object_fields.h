// SPDX-License-Identifier: Apache-2.0
// One object's boxes, scores and mask. Pure functions.
#ifndef SERVER_OBJECT_FIELDS_H_
#define SERVER_OBJECT_FIELDS_H_

#include <span>
#include <string>
#include <vector>

#include "core/request/request.h"
#include "core/text/region_parser.h"
#include "paligemma/v1/types.pb.h"
#include "server/api/request_reader.h"

namespace paligemma {

// Version of the definition of DetectedObject.score: exp of the mean log-probability.
inline constexpr char kScoreDefinition[] = "mean-logprob-1";

// All but the mask. Scores are set when the sequence has log-probabilities.
v1::DetectedObject ObjectFields(const ParsedObject& parsed, const SequenceResult& sequence,
                                const ImageInfo& image, const std::vector<std::string>& labels);

// `logits`: MaskDecoder's values of this object; not needed for MASK_FORMAT_CODES.
Status FillMask(const ResponseOptions& options, const ParsedObject& parsed,
                std::span<const float> logits, const ImageInfo& image, v1::Mask* mask);

}  // namespace paligemma

#endif  // SERVER_OBJECT_FIELDS_H_
