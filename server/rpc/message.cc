// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/message.h"

#include <google/protobuf/stubs/logging.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <string>
#include <string_view>

namespace paligemma::rpc {
namespace {

// What protobuf last complained about on this thread.
thread_local std::string complaint;

void KeepComplaint(google::protobuf::LogLevel, const char*, int, const std::string& text) {
  complaint = text;
}

// "prompt" out of "String field 'paligemma.v1.GenerateRequest.prompt' contains invalid UTF-8 ...".
std::string FieldIn(std::string_view text) {
  const size_t begin = text.find('\'');
  const size_t end = text.find('\'', begin + 1);
  if (begin == std::string_view::npos || end == std::string_view::npos) return "";
  const std::string_view name = text.substr(begin + 1, end - begin - 1);
  const size_t dot = name.rfind('.');
  return std::string(dot == std::string_view::npos ? name : name.substr(dot + 1));
}

}  // namespace

void TakeProtobufLog() { google::protobuf::SetLogHandler(KeepComplaint); }

Status ParseMessage(grpc::ByteBuffer* bytes, google::protobuf::Message* message) {
  complaint.clear();
  const grpc::Status parsed =
      grpc::SerializationTraits<google::protobuf::Message>::Deserialize(bytes, message);
  if (parsed.ok()) return OkStatus();
  const std::string field = FieldIn(complaint);
  if (!field.empty()) return InvalidField(field, "", "", "is not valid UTF-8");
  return InvalidField(message->GetTypeName(), "", "", "the bytes are no such message");
}

grpc::ByteBuffer SerializeMessage(const google::protobuf::Message& message) {
  grpc::ByteBuffer bytes;
  bool own = false;
  const grpc::Status status =
      grpc::SerializationTraits<google::protobuf::Message>::Serialize(message, &bytes, &own);
  PG_CHECK(status.ok()) << status.error_message();
  return bytes;
}

}  // namespace paligemma::rpc
