// SPDX-License-Identifier: Apache-2.0
#include "client/printer.h"

#include <google/protobuf/util/json_util.h>

#include <nlohmann/json.hpp>

#include "client/errors.h"
#include "client/task.h"

namespace paligemma::client {
namespace {

// A JSON string; bytes that are not UTF-8 are replaced.
std::string Quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

std::string ErrorToJson(const Status& status) {
  std::string json = "{\"code\":" + Quoted(std::string(StatusCodeName(status.code()))) +
                     ",\"reason\":" + Quoted(ReasonOf(status)) +
                     ",\"message\":" + Quoted(status.message()) + ",\"metadata\":{";
  bool first = true;
  for (const auto& [key, value] : status.metadata()) {
    json.append(first ? "" : ",").append(Quoted(key)).append(":").append(Quoted(value));
    first = false;
  }
  return json + "}}";
}

std::string ErrorToText(const Status& status) {
  std::string text(StatusCodeName(status.code()));
  const std::string reason = ReasonOf(status);
  if (!reason.empty() && reason != text) text += " " + reason;
  text += ": " + status.message();
  for (const auto& [key, value] : status.metadata()) {
    if (key == "request_id") text += " (request " + value + ")";
  }
  return text;
}

std::string ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  PG_CHECK(status.ok()) << "a message of our own has a JSON form";
  return json;
}

Printer::Printer(const Options& options, std::ostream* out, std::ostream* err,
                 ProgressBar* progress)
    : options_(options), out_(out), err_(err), progress_(progress) {}

void Printer::Event(const std::string& name, const v1::StreamGenerateResponse& event) {
  MutexLock lock(&mutex_);
  if (options_.json) {
    progress_->Hide();
    *out_ << "{\"image\":" << Quoted(name) << ",\"event\":" << ToJson(event) << "}" << std::endl;
  } else if (options_.objects && event.has_object()) {
    PrintText(name, DescribeObject(event.object().object()) + "\n");
  } else if (!options_.objects && event.has_delta() && event.delta().candidate_index() == 0) {
    PrintText(name, event.delta().text());
  }
}

void Printer::PrintText(const std::string& name, const std::string& text) {
  if (text.empty()) return;
  if (!streamed_) {
    progress_->Hide();
    if (options_.count > 1) *out_ << name << ":\n";
  }
  *out_ << text << std::flush;
  streamed_ = true;
}

void Printer::Answer(const std::string& name, const v1::TaskResponse& response) {
  MutexLock lock(&mutex_);
  if (options_.json) {
    progress_->Hide();
    *out_ << "{\"image\":" << Quoted(name) << ",\"response\":" << ToJson(InnerResponse(response))
          << "}" << std::endl;
    return;
  }
  if (!streamed_) {
    PrintText(name, Describe(response) + "\n");
  } else if (!options_.objects) {
    *out_ << std::endl;
  }
  streamed_ = false;
}

void Printer::Error(const std::string& name, const Status& status) {
  MutexLock lock(&mutex_);
  progress_->Hide();
  if (options_.json) {
    *out_ << "{\"image\":" << Quoted(name) << ",\"error\":" << ErrorToJson(status) << "}"
          << std::endl;
    return;
  }
  if (streamed_ && !options_.objects) *out_ << std::endl;
  streamed_ = false;
  *err_ << name << ": " << ErrorToText(status) << std::endl;
}

}  // namespace paligemma::client
