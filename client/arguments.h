// SPDX-License-Identifier: Apache-2.0
// What the command line asks, and the requests that it becomes.
#ifndef CLIENT_ARGUMENTS_H_
#define CLIENT_ARGUMENTS_H_

#include <istream>
#include <optional>
#include <string>
#include <vector>

#include "client/channel.h"
#include "core/base/status.h"
#include "paligemma/v1/paligemma_service.pb.h"

namespace paligemma::client {

struct Arguments {
  std::string command;  // "caption", "answer", ...
  ClientOptions client;
  std::vector<std::string> positional;  // images, then the text where the command takes one
  std::vector<std::string> labels;
  std::string model, language, length, overlay, masks;
  std::optional<int> max_tokens, seed, candidates, logprobs, top_k;
  std::optional<float> temperature, top_p, min_score;
  bool json = false, stream = false, together = false, separate = false, bypass_cache = false;
  int concurrency = 8;
  std::chrono::milliseconds wait{0};  // health: for the server to be ready
};

struct InputImage {
  std::string name;   // as the user gave it; "-" is standard input
  std::string bytes;  // of the file
};

// Splits the text off the positional arguments: "answer", "generate", and "detect" and "segment"
// unless labels were given. The error is a usage error.
StatusOr<std::string> TakeText(Arguments* arguments);

// Directories become their pictures, sorted. The error is a usage error.
StatusOr<std::vector<std::string>> ExpandImages(const std::vector<std::string>& names);

// What each request asks about: one image, or with --together all. The error is a usage error.
StatusOr<std::vector<std::vector<std::string>>> GroupImages(const Arguments& arguments);

// A file, or for "-" all of `input`.
StatusOr<InputImage> ReadImage(const std::string& name, std::istream* input);

// One request over `images`; detect, segment and read take the first. Labels of `text` are
// separated by ";".
v1::TaskRequest MakeTask(const Arguments& arguments, const std::string& text,
                         const std::vector<InputImage>& images);

}  // namespace paligemma::client

#endif  // CLIENT_ARGUMENTS_H_
