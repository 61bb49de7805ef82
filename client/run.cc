// SPDX-License-Identifier: Apache-2.0
#include "client/run.h"

#include <google/protobuf/util/json_util.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>
#include <mutex>

#include "client/overlay.h"
#include "client/png_writer.h"

namespace paligemma::client {
namespace {

// A JSON string, with its quotes.
std::string Quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out.append("\\").append(1, c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof(escape), "\\u%04x", c);
      out += escape;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(message, &json, options).ok()) return "{}";
  return json;
}

// The response inside, which the unary method returns.
const google::protobuf::Message& Inner(const v1::TaskResponse& response) {
  switch (response.result_case()) {
    case v1::TaskResponse::kAnswer:
      return response.answer();
    case v1::TaskResponse::kDetect:
      return response.detect();
    case v1::TaskResponse::kSegment:
      return response.segment();
    case v1::TaskResponse::kReadText:
      return response.read_text();
    case v1::TaskResponse::kGenerate:
      return response.generate();
    default:
      return response.caption();
  }
}

const Objects* ObjectsIn(const v1::TaskResponse& response) {
  if (response.has_detect()) return &response.detect().objects();
  if (response.has_segment()) return &response.segment().objects();
  if (response.has_generate() && response.generate().candidates_size() > 0) {
    return &response.generate().candidates(0).objects();
  }
  return nullptr;
}

std::string DescribeObjects(const Objects& objects) {
  if (objects.empty()) return "nothing found";
  std::string text;
  for (const v1::DetectedObject& object : objects) {
    const v1::PixelBox& box = object.pixel_box();
    char line[160];
    std::snprintf(line, sizeof(line), "%5d %5d %5d %5d  %.2f  ", box.x_min(), box.y_min(),
                  box.x_max(), box.y_max(), object.score());
    text.append(text.empty() ? "" : "\n").append(line).append(object.label());
  }
  return text;
}

std::string Describe(const v1::TaskResponse& response) {
  if (response.has_caption()) return response.caption().caption();
  if (response.has_answer()) return response.answer().answer();
  if (response.has_read_text()) return response.read_text().text();
  if (response.has_generate()) {
    std::string text;
    for (const v1::Candidate& candidate : response.generate().candidates()) {
      text.append(text.empty() ? "" : "\n").append(candidate.text());
    }
    return text;
  }
  return DescribeObjects(*ObjectsIn(response));
}

// "FILE.png", or with several pictures "FILE-2.png".
std::string NumberedPath(const std::string& path, int index, int count) {
  if (count == 1) return path;
  std::filesystem::path numbered(path);
  numbered.replace_filename(numbered.stem().string() + "-" + std::to_string(index + 1) +
                            numbered.extension().string());
  return numbered.string();
}

Status WriteOverlay(const InputImage& input, const v1::TaskResponse& response,
                    const std::string& path) {
  ImageInput encoded;
  encoded.encoded = input.bytes;
  PG_ASSIGN_OR_RETURN(DecodedImage decoded, DecodeImage(encoded, ImageLimits(), input.name));
  if (const Objects* objects = ObjectsIn(response); objects != nullptr) {
    PG_RETURN_IF_ERROR(DrawObjects(*objects, &decoded.image));
  }
  return WriteFile(path, EncodePng(decoded.image));
}

Status WriteMasks(const v1::TaskResponse& response, const std::string& directory, int image) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  const Objects* const objects = ObjectsIn(response);
  for (int i = 0; objects != nullptr && i < objects->size(); ++i) {
    if ((*objects)[i].mask().png().empty()) continue;
    const std::string name = std::to_string(image + 1) + "-" + std::to_string(i + 1) + ".png";
    PG_RETURN_IF_ERROR(WriteFile(directory + "/" + name, (*objects)[i].mask().png()));
  }
  return OkStatus();
}

// Runs the requests and prints each as it comes.
class TaskRunner {
 public:
  TaskRunner(const Arguments& arguments, Client* client, std::string text,
             std::vector<std::vector<std::string>> groups)
      : arguments_(arguments),
        client_(client),
        text_(std::move(text)),
        groups_(std::move(groups)),
        progress_(groups_.size() > 1 && isatty(STDERR_FILENO) == 1) {}

  int Run() {
    ForEachConcurrently(static_cast<int>(groups_.size()), arguments_.concurrency,
                        [this](int index) { RunOne(index); });
    if (progress_) std::cerr << "\n";
    return failed_ ? kRequestFailed : kAnswered;
  }

 private:
  void RunOne(int index) {
    const std::vector<std::string>& names = groups_[static_cast<size_t>(index)];
    std::string name;
    for (const std::string& part : names) name.append(name.empty() ? "" : " ").append(part);
    std::vector<InputImage> images;
    const StatusOr<v1::TaskResponse> response = Ask(names, &images);
    Status status = response.status();
    const int count = static_cast<int>(groups_.size());
    if (status.ok() && !arguments_.overlay.empty()) {
      status =
          WriteOverlay(images.front(), *response, NumberedPath(arguments_.overlay, index, count));
    }
    if (status.ok() && !arguments_.masks.empty()) {
      status = WriteMasks(*response, arguments_.masks, index);
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    if (status.ok()) {
      PrintAnswer(name, *response);
    } else {
      failed_ = true;
      PrintError(name, status);
    }
    if (progress_) std::cerr << "\r" << ++done_ << " of " << count << " " << std::flush;
  }

  StatusOr<v1::TaskResponse> Ask(const std::vector<std::string>& names,
                                 std::vector<InputImage>* images) {
    for (const std::string& name : names) {
      PG_ASSIGN_OR_RETURN(InputImage image, ReadImage(name));
      images->push_back(std::move(image));
    }
    PG_ASSIGN_OR_RETURN(const v1::TaskRequest task, MakeTask(arguments_, text_, *images));
    if (!arguments_.stream) return client_->Call(task);
    return client_->Stream(task, [this](const v1::StreamGenerateResponse& event) {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (arguments_.json) {
        std::cout << "{\"event\":" << ToJson(event) << "}" << std::endl;
      } else if (event.has_delta()) {
        std::cout << event.delta().text() << std::flush;
        streamed_ = true;
      }
    });
  }

  void PrintAnswer(const std::string& name, const v1::TaskResponse& response) {
    if (arguments_.json) {
      std::cout << "{\"image\":" << Quoted(name) << ",\"response\":" << ToJson(Inner(response))
                << "}" << std::endl;
    } else if (streamed_) {
      std::cout << std::endl;  // the text is there already
    } else {
      if (groups_.size() > 1) std::cout << name << ":\n";
      std::cout << Describe(response) << std::endl;
    }
  }

  void PrintError(const std::string& name, const Status& status) {
    if (arguments_.json) {
      std::cout << "{\"image\":" << Quoted(name)
                << ",\"error\":{\"code\":" << Quoted(std::string(StatusCodeName(status.code())))
                << ",\"reason\":" << Quoted(ReasonOf(status))
                << ",\"message\":" << Quoted(status.message()) << "}}" << std::endl;
    } else {
      std::cerr << name << ": " << status.ToString() << std::endl;
    }
  }

  const Arguments& arguments_;
  Client* const client_;
  const std::string text_;
  const std::vector<std::vector<std::string>> groups_;
  const bool progress_;
  std::mutex mutex_;  // of what follows, and of the output
  bool failed_ = false, streamed_ = false;
  int done_ = 0;
};

int Fail(const Status& status, int code) {
  std::cerr << "paligemma: " << status.message() << std::endl;
  return code;
}

}  // namespace

int RunTask(Arguments arguments) {
  StatusOr<std::string> text = TakeText(&arguments);
  if (!text.ok()) return Fail(text.status(), kWrongUsage);
  StatusOr<std::vector<std::string>> names = ExpandImages(arguments.positional);
  if (!names.ok()) return Fail(names.status(), kWrongUsage);
  auto client = Client::Create(arguments.client);
  if (!client.ok()) return Fail(client.status(), kWrongUsage);
  std::vector<std::vector<std::string>> groups;
  if (arguments.together) {
    groups.push_back(*std::move(names));
  } else {
    for (std::string& name : *names) groups.push_back({std::move(name)});
  }
  return TaskRunner(arguments, client->get(), *std::move(text), std::move(groups)).Run();
}

int RunModels(const Arguments& arguments) {
  auto client = Client::Create(arguments.client);
  if (!client.ok()) return Fail(client.status(), kWrongUsage);
  const auto response = (*client)->Call(v1::ListModelsRequest());
  if (!response.ok()) return Fail(response.status(), kRequestFailed);
  for (const v1::Model& model : response->models()) {
    if (arguments.json) {
      std::cout << ToJson(model) << std::endl;
      continue;
    }
    std::cout << model.name() << "  " << v1::ModelState_Name(model.state()) << "  "
              << model.image_size() << " px, " << model.activation_dtype() << "\n ";
    for (const std::string& method : model.supported_methods()) std::cout << " " << method;
    std::cout << std::endl;
  }
  return kAnswered;
}

int RunHealth(const Arguments& arguments) {
  auto client = Client::Create(arguments.client);
  if (!client.ok()) return Fail(client.status(), kWrongUsage);
  const StatusOr<bool> healthy = (*client)->Healthy();
  if (!healthy.ok()) return Fail(healthy.status(), kRequestFailed);
  const char* const state = *healthy ? "SERVING" : "NOT_SERVING";
  std::cout << (arguments.json ? std::string("{\"status\":\"") + state + "\"}" : state)
            << std::endl;
  return *healthy ? kAnswered : kRequestFailed;
}

}  // namespace paligemma::client
