// SPDX-License-Identifier: Apache-2.0
// Checks of the parts that several requests share; for the request parser only.
#ifndef SERVER_FIELD_CHECKS_H_
#define SERVER_FIELD_CHECKS_H_

#include <string>

#include "google/protobuf/repeated_ptr_field.h"
#include "server/request_parser.h"

namespace paligemma {

// "models/NAME" or empty, and the method one that the model supports.
Status CheckModel(const std::string& model, Task task, const ParserOptions& options);

// Moves one image; `path` names it in errors.
Status TakeImage(v1::Image* image, const std::string& path, const ParserOptions& options,
                 Request* out);
Status TakeImages(google::protobuf::RepeatedPtrField<v1::Image>* images,
                  const ParserOptions& options, Request* out);

// Fills sampling, candidates and stop sequences. `candidates_allowed`: whether the response has
// room for more than one.
Status ReadGenerationConfig(const v1::GenerationConfig& config, const TaskSpec& spec,
                            bool candidates_allowed, const ParserOptions& options,
                            ParsedRequest* out);
Status ReadOptions(const v1::RequestOptions& options, TimePoint now, ParsedRequest* out);

// The primary subtag, in lower case, out of those that the method has.
StatusOr<std::string> ReadLanguage(const std::string& code, const TaskSpec& spec);
Status ReadLabels(const google::protobuf::RepeatedPtrField<std::string>& labels, int max_labels,
                  Request* out);

// Refuses text that cannot fit, whatever its tokens.
Status CheckTextSize(const std::string& text, const ParserOptions& options);

// An enum value that this version of the API does not have.
Status UnknownEnum(const std::string& field, int value);

}  // namespace paligemma

#endif  // SERVER_FIELD_CHECKS_H_
