// SPDX-License-Identifier: Apache-2.0
// What the command line prints of answers: text for people, or with --json one object a line:
// {"image", "response"}, {"image", "error": {"code", "reason", "message", "metadata"}}, and with
// --stream before them {"image", "event"}. Thread safe.
#ifndef CLIENT_PRINTER_H_
#define CLIENT_PRINTER_H_

#include <ostream>
#include <string>

#include "client/progress.h"
#include "core/base/mutex.h"
#include "core/base/status.h"
#include "paligemma/v1/paligemma_service.pb.h"

namespace paligemma::client {

// A message as JSON with the field names of the .proto.
std::string ToJson(const google::protobuf::Message& message);

// {"code", "reason", "message", "metadata"}.
std::string ErrorToJson(const Status& status);
// "INVALID_ARGUMENT IMAGE_CORRUPT: message (request id)".
std::string ErrorToText(const Status& status);

class Printer {
 public:
  struct Options {
    bool json = false;
    bool objects = false;  // the answers are objects, not text
    int count = 1;         // of answers to come
  };

  // Errors for people go to `err`. `progress` shares a terminal with `out`; none is owned.
  Printer(const Options& options, std::ostream* out, std::ostream* err, ProgressBar* progress);

  // Part of an answer. As text, events of several answers must not interleave.
  void Event(const std::string& name, const v1::StreamGenerateResponse& event);
  void Answer(const std::string& name, const v1::TaskResponse& response);
  void Error(const std::string& name, const Status& status);

 private:
  void PrintText(const std::string& name, const std::string& text) PG_REQUIRES(mutex_);

  const Options options_;
  Mutex mutex_;
  std::ostream* const out_ PG_GUARDED_BY(mutex_);
  std::ostream* const err_ PG_GUARDED_BY(mutex_);
  ProgressBar* const progress_ PG_GUARDED_BY(mutex_);
  bool streamed_ PG_GUARDED_BY(mutex_) = false;  // part of the answer is printed
};

}  // namespace paligemma::client

#endif  // CLIENT_PRINTER_H_
