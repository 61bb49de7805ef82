// SPDX-License-Identifier: Apache-2.0
#include "client/arguments.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

namespace paligemma::client {
namespace {

Status UsageError(std::string message) {
  return Status(StatusCode::kInvalidArgument, std::move(message));
}

bool IsPicture(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png" || extension == ".webp";
}

// Notebooks write several labels as one text, "cow ; ship".
std::vector<std::string> SplitLabels(const std::string& text) {
  constexpr char kBlanks[] = " \t\r\n";
  std::vector<std::string> labels;
  std::stringstream stream(text);
  std::string part;
  while (std::getline(stream, part, ';')) {
    const size_t begin = part.find_first_not_of(kBlanks);
    if (begin == std::string::npos) continue;
    labels.push_back(part.substr(begin, part.find_last_not_of(kBlanks) - begin + 1));
  }
  return labels;
}

template <typename Request>
void FillCommon(const Arguments& arguments, Request* request) {
  if (!arguments.model.empty()) {
    request->set_model(arguments.model.starts_with("models/") ? arguments.model
                                                              : "models/" + arguments.model);
  }
  if (arguments.bypass_cache) {
    request->mutable_options()->set_cache_policy(v1::CACHE_POLICY_BYPASS);
  }
  v1::GenerationConfig* const config = request->mutable_generation_config();
  if (arguments.max_tokens) config->set_max_output_tokens(*arguments.max_tokens);
  if (arguments.temperature) config->set_temperature(*arguments.temperature);
  if (arguments.top_p) config->set_top_p(*arguments.top_p);
  if (arguments.top_k) config->set_top_k(*arguments.top_k);
  if (arguments.seed) config->set_seed(*arguments.seed);
  if (arguments.candidates) config->set_candidate_count(*arguments.candidates);
  if (arguments.logprobs) config->set_logprobs(*arguments.logprobs);
}

template <typename Request>
void FillImages(const Arguments& arguments, const std::vector<InputImage>& images,
                Request* request) {
  for (const InputImage& image : images) request->add_images()->set_content(image.bytes);
  FillCommon(arguments, request);
}

template <typename Request>
void FillObjectTask(const Arguments& arguments, const std::string& text, const InputImage& image,
                    Request* request) {
  request->mutable_image()->set_content(image.bytes);
  for (const std::string& entry :
       arguments.labels.empty() ? std::vector<std::string>{text} : arguments.labels) {
    for (std::string& label : SplitLabels(entry)) request->add_labels(std::move(label));
  }
  if (arguments.separate) request->set_label_mode(v1::LABEL_MODE_SEPARATE);
  if (arguments.min_score) request->set_min_score(*arguments.min_score);
  FillCommon(arguments, request);
}

}  // namespace

StatusOr<std::string> TakeText(Arguments* arguments) {
  const std::string& command = arguments->command;
  const bool labelled = (command == "detect" || command == "segment") && arguments->labels.empty();
  std::string text;
  if (command == "answer" || command == "generate" || labelled) {
    if (arguments->positional.size() < 2) {
      return UsageError(command + " takes images, then the text");
    }
    text = std::move(arguments->positional.back());
    arguments->positional.pop_back();
  }
  if (arguments->positional.empty()) return UsageError(command + " takes at least one image");
  return text;
}

StatusOr<std::vector<std::string>> ExpandImages(const std::vector<std::string>& names) {
  std::vector<std::string> expanded;
  for (const std::string& name : names) {
    std::error_code error;
    if (name == "-" || !std::filesystem::is_directory(name, error)) {
      expanded.push_back(name);
      continue;
    }
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(name, error)) {
      if (IsPicture(entry.path())) found.push_back(entry.path().string());
    }
    if (found.empty()) return UsageError(name + ": holds no JPEG, PNG or WebP");
    std::sort(found.begin(), found.end());
    expanded.insert(expanded.end(), found.begin(), found.end());
  }
  return expanded;
}

StatusOr<std::vector<std::vector<std::string>>> GroupImages(const Arguments& arguments) {
  PG_ASSIGN_OR_RETURN(std::vector<std::string> names, ExpandImages(arguments.positional));
  if (std::count(names.begin(), names.end(), "-") > 1) {
    return UsageError("standard input can be read once");
  }
  const std::string& command = arguments.command;
  if (arguments.together && names.size() > 1 &&
      (command == "detect" || command == "segment" || command == "read")) {
    return UsageError(command + " takes one image in a request, so not --together");
  }
  std::vector<std::vector<std::string>> groups;
  if (arguments.together) {
    groups.push_back(std::move(names));
  } else {
    for (std::string& name : names) groups.push_back({std::move(name)});
  }
  return groups;
}

StatusOr<InputImage> ReadImage(const std::string& name, std::istream* input) {
  InputImage image{name, ""};
  std::ifstream file;
  if (name != "-") {
    file.open(name, std::ios::binary);
    if (!file) return Status(StatusCode::kNotFound, name + ": cannot be read");
    input = &file;
  }
  image.bytes.assign(std::istreambuf_iterator<char>(*input), {});
  return image;
}

v1::TaskRequest MakeTask(const Arguments& arguments, const std::string& text,
                         const std::vector<InputImage>& images) {
  v1::TaskRequest task;
  const std::string& command = arguments.command;
  if (command == "caption") {
    FillImages(arguments, images, task.mutable_caption());
    task.mutable_caption()->set_language_code(arguments.language);
    if (arguments.length == "long") task.mutable_caption()->set_length(v1::CAPTION_LENGTH_LONG);
    if (arguments.length == "short") task.mutable_caption()->set_length(v1::CAPTION_LENGTH_SHORT);
  } else if (command == "answer") {
    FillImages(arguments, images, task.mutable_answer());
    task.mutable_answer()->set_question(text);
    task.mutable_answer()->set_language_code(arguments.language);
  } else if (command == "detect") {
    FillObjectTask(arguments, text, images.front(), task.mutable_detect());
  } else if (command == "segment") {
    FillObjectTask(arguments, text, images.front(), task.mutable_segment());
  } else if (command == "read") {
    task.mutable_read_text()->mutable_image()->set_content(images.front().bytes);
    FillCommon(arguments, task.mutable_read_text());
  } else {
    FillImages(arguments, images, task.mutable_generate());
    task.mutable_generate()->set_prompt(text);
  }
  return task;
}

}  // namespace paligemma::client
