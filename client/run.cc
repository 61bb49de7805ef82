// SPDX-License-Identifier: Apache-2.0
#include "client/run.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <filesystem>
#include <iostream>
#include <map>

#include "client/client.h"
#include "client/connection_advice.h"
#include "client/fit.h"
#include "client/map.h"
#include "client/overlay.h"
#include "client/png_writer.h"
#include "client/printer.h"
#include "client/progress.h"
#include "client/task.h"

namespace paligemma::client {
namespace {

using Group = std::vector<std::string>;  // names of the images of one request

std::string NameOf(const Group& group) {
  std::string name;
  for (const std::string& part : group) name.append(name.empty() ? "" : " ").append(part);
  return name;
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
  ImageLimits limits;
  limits.max_bytes = std::ssize(input.bytes);
  limits.max_pixels = kMaxLocalPixels;
  PG_ASSIGN_OR_RETURN(DecodedImage decoded, DecodeImage(encoded, limits, input.name));
  if (const Objects* objects = ObjectsIn(response); objects != nullptr) {
    PG_RETURN_IF_ERROR(DrawObjects(*objects, &decoded.image));
  }
  return WriteFile(path, EncodePng(decoded.image));
}

// For file names: what is no ASCII letter or digit becomes "_", and long texts are cut.
std::string PlainName(std::string text) {
  constexpr std::size_t kLongest = 40;
  text.resize(std::min(text.size(), kLongest));
  for (char& c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 || static_cast<unsigned char>(c) > 0x7f) {
      c = '_';
    }
  }
  return text;
}

// A name for the files of each group: that of its first picture without folder and extension. Where
// several groups have the same, the group's number stands behind it.
std::vector<std::string> FileNames(const std::vector<Group>& groups) {
  std::vector<std::string> names;
  std::map<std::string, int> count;
  for (const Group& group : groups) {
    const std::string& picture = group.front();
    names.push_back(picture == "-" ? "stdin" : std::filesystem::path(picture).stem().string());
    ++count[names.back()];
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (count[names[i]] > 1) names[i].append("-").append(std::to_string(i + 1));
  }
  return names;
}

// "DIRECTORY/street-1-car.png": the first object of street.jpg.
Status WriteMasks(const v1::TaskResponse& response, const std::string& directory,
                  const std::string& picture) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  const Objects* const objects = ObjectsIn(response);
  for (int i = 0; objects != nullptr && i < objects->size(); ++i) {
    if ((*objects)[i].mask().png().empty()) continue;
    const std::string name =
        picture + "-" + std::to_string(i + 1) + "-" + PlainName((*objects)[i].label()) + ".png";
    PG_RETURN_IF_ERROR(WriteFile(directory + "/" + name, (*objects)[i].mask().png()));
  }
  return OkStatus();
}

// Sends the requests and prints each answer as it comes.
class TaskRunner {
 public:
  TaskRunner(const Arguments& arguments, Client* client, std::string text,
             std::vector<Group> groups, const Console& console)
      : arguments_(arguments),
        client_(client),
        text_(std::move(text)),
        groups_(std::move(groups)),
        file_names_(FileNames(groups_)),
        count_(static_cast<int>(groups_.size())),
        in_(console.in),
        err_(console.err),
        progress_(console.terminal && count_ > 1 ? console.err : nullptr, count_, Clock::Real()),
        printer_({arguments.json, arguments.command == "detect" || arguments.command == "segment",
                  count_},
                 console.out, console.err, &progress_) {}

  int Run() {
    // Streamed text of several answers must not interleave.
    const bool in_turn = arguments_.stream && !arguments_.json;
    bool failed = false;
    MapTasks(
        count_, in_turn ? 1 : arguments_.concurrency, [this](int i) { return Ask(i); },
        [&](int i, const StatusOr<v1::TaskResponse>& answer) {
          const std::string name = NameOf(groups_[static_cast<size_t>(i)]);
          if (answer.ok()) {
            printer_.Answer(name, *answer);
          } else {
            printer_.Error(name, Advised(answer.status()));
          }
          failed = failed || !answer.ok();
          progress_.Step(answer.ok());
        });
    return failed ? kRequestFailed : kAnswered;
  }

 private:
  StatusOr<v1::TaskResponse> Ask(int index) {
    const Group& group = groups_[static_cast<size_t>(index)];
    std::vector<InputImage> images;
    for (const std::string& name : group) {
      PG_ASSIGN_OR_RETURN(InputImage image, ReadImage(name, in_));
      images.push_back(std::move(image));
    }
    PG_ASSIGN_OR_RETURN(v1::TaskResponse response, Call(NameOf(group), images));
    if (!arguments_.overlay.empty()) {
      PG_RETURN_IF_ERROR(
          WriteOverlay(images.front(), response, NumberedPath(arguments_.overlay, index, count_)));
    }
    if (!arguments_.masks.empty()) {
      PG_RETURN_IF_ERROR(
          WriteMasks(response, arguments_.masks, file_names_[static_cast<size_t>(index)]));
    }
    return response;
  }

  StatusOr<v1::TaskResponse> Call(const std::string& name, const std::vector<InputImage>& images) {
    v1::TaskRequest task = MakeTask(arguments_, text_, images);
    StatusOr<v1::TaskResponse> response = Send(name, task, {});
    if (response.ok() || response.status().reason() != Reason::kImageTooLarge) return response;
    const StatusOr<v1::Model> model = FindModel();
    if (!model.ok()) return response;
    PG_ASSIGN_OR_RETURN(const std::vector<ResizedPicture> resized, FitPictures(*model, &task));
    if (resized.empty()) return response;
    Tell(resized.front(), *model);
    return Send(name, task, resized);
  }

  StatusOr<v1::TaskResponse> Send(const std::string& name, const v1::TaskRequest& task,
                                  const std::vector<ResizedPicture>& resized) {
    StatusOr<v1::TaskResponse> response =
        arguments_.stream
            ? client_->Stream(task,
                              [&](v1::StreamGenerateResponse event) {
                                if (event.has_object()) {
                                  RestoreObject(resized, event.mutable_object()->mutable_object());
                                }
                                printer_.Event(name, event);
                                return true;
                              })
            : client_->Call(task);
    if (response.ok()) RestoreResponse(resized, &*response);
    return response;
  }

  // The advice may ask the server, so a run asks for it once. Called by one thread at a time.
  Status Advised(const Status& status) {
    if (advised_ || status.code() != StatusCode::kUnavailable) return status;
    advised_ = true;
    return WithConnectionAdvice(arguments_.client, status);
  }

  // The model that answers, of those that the server lists.
  StatusOr<v1::Model> FindModel() {
    PG_ASSIGN_OR_RETURN(const std::vector<v1::Model> models, client_->Models());
    for (const v1::Model& model : models) {
      const std::string& asked = arguments_.model;
      if (asked.empty() || model.name() == asked || model.name() == "models/" + asked) return model;
    }
    return Status(StatusCode::kNotFound, "the server does not list the model");
  }

  // Once a run, from whichever call is first.
  void Tell(const ResizedPicture& picture, const v1::Model& model) {
    if (told_.exchange(true)) return;
    const std::string size =
        std::to_string(model.image_size()) + " x " + std::to_string(model.image_size());
    *err_ << "paligemma: a picture of " + std::to_string(picture.width) + " x " +
                 std::to_string(picture.height) + " pixels exceeds what the server takes: it was " +
                 "resized to the " + size + " that the model sees. Boxes are in pixels of the " +
                 "full picture, masks have the sent size\n";
  }

  const Arguments& arguments_;
  Client* const client_;
  const std::string text_;
  const std::vector<Group> groups_;
  const std::vector<std::string> file_names_;
  const int count_;
  std::istream* const in_;
  std::ostream* const err_;
  std::atomic<bool> told_ = false;
  bool advised_ = false;
  ProgressBar progress_;
  Printer printer_;
};

// Refuses outputs that could not be written, before the work is done.
Status CheckOutputs(const Arguments& arguments) {
  const std::filesystem::path folder = std::filesystem::path(arguments.overlay).parent_path();
  std::error_code error;
  if (!folder.empty() && !std::filesystem::is_directory(folder, error)) {
    return Status(StatusCode::kInvalidArgument,
                  "--overlay: there is no folder " + folder.string() + "; create it first");
  }
  return OkStatus();
}

int FailRequest(const Status& failure, const Arguments& arguments, const Console& console) {
  const Status status = WithConnectionAdvice(arguments.client, failure);
  if (arguments.json) {
    *console.out << "{\"error\":" << ErrorToJson(status) << "}" << std::endl;
  } else {
    *console.err << "paligemma: " << ErrorToText(status) << std::endl;
  }
  return kRequestFailed;
}

}  // namespace

Console Console::OfProcess() {
  return {&std::cin, &std::cout, &std::cerr, isatty(STDERR_FILENO) == 1};
}

int FailUsage(const Status& status, const Console& console) {
  *console.err << "paligemma: " << status.message() << std::endl;
  return kWrongUsage;
}

int RunTask(Arguments arguments, const Console& console) {
  if (const Status outputs = CheckOutputs(arguments); !outputs.ok()) {
    return FailUsage(outputs, console);
  }
  StatusOr<std::string> text = TakeText(&arguments);
  if (!text.ok()) return FailUsage(text.status(), console);
  StatusOr<std::vector<Group>> groups = GroupImages(arguments);
  if (!groups.ok()) return FailUsage(groups.status(), console);
  const auto client = Client::Create(arguments.client);
  if (!client.ok()) return FailUsage(client.status(), console);
  return TaskRunner(arguments, client->get(), *std::move(text), *std::move(groups), console).Run();
}

int RunModels(const Arguments& arguments, const Console& console) {
  const auto client = Client::Create(arguments.client);
  if (!client.ok()) return FailUsage(client.status(), console);
  const auto models = (*client)->Models();
  if (!models.ok()) return FailRequest(models.status(), arguments, console);
  for (const v1::Model& model : *models) {
    if (arguments.json) {
      *console.out << ToJson(model) << std::endl;
      continue;
    }
    *console.out << model.name() << "  " << v1::ModelState_Name(model.state()) << "  "
                 << model.image_size() << " px, " << model.activation_dtype() << "\n ";
    for (const std::string& method : model.supported_methods()) *console.out << " " << method;
    *console.out << "\n  at most " << model.limits().max_image_pixels() << " pixels and "
                 << model.limits().max_image_bytes() << " bytes an image; output tokens:";
    for (const v1::MethodLimits& limits : model.limits().methods()) {
      *console.out << " " << limits.method() << " " << limits.max_output_tokens();
    }
    *console.out << std::endl;
  }
  return kAnswered;
}

int RunHealth(const Arguments& arguments, const Console& console) {
  const auto client = Client::Create(arguments.client);
  if (!client.ok()) return FailUsage(client.status(), console);
  const StatusOr<bool> healthy = (*client)->Healthy(arguments.wait);
  if (!healthy.ok()) return FailRequest(healthy.status(), arguments, console);
  const std::string state = *healthy ? "SERVING" : "NOT_SERVING";
  *console.out << (arguments.json ? "{\"status\":\"" + state + "\"}" : state) << std::endl;
  return *healthy ? kAnswered : kRequestFailed;
}

}  // namespace paligemma::client
