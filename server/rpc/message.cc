// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/message.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/gzip_stream.h>
#include <google/protobuf/stubs/logging.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <algorithm>
#include <climits>
#include <string>
#include <string_view>

namespace paligemma::rpc {
namespace {

// Holds protobuf's last complaint on this thread.
thread_local std::string complaint;

void KeepComplaint(google::protobuf::LogLevel, const char*, int, const std::string& text) {
  complaint = text;
}

// gRPC's reader, which also knows whether the bytes came compressed.
class Reader : public grpc::ProtoBufferReader {
 public:
  using grpc::ProtoBufferReader::ProtoBufferReader;
  bool compressed() {
    return status().ok() && reader()->buffer_in->data.raw.compression != GRPC_COMPRESS_NONE;
  }
};

enum class Parsed { kYes, kNo, kTooLarge };

Parsed Parse(std::int64_t max_bytes, grpc::ByteBuffer* bytes, google::protobuf::Message* message) {
  namespace io = google::protobuf::io;
  Reader raw(bytes);
  if (!raw.status().ok()) return Parsed::kNo;
  const int limit = static_cast<int>(std::min<std::int64_t>(max_bytes, INT_MAX));
  const auto parse = [&](io::ZeroCopyInputStream* stream) {
    io::CodedInputStream coded(stream);
    coded.SetTotalBytesLimit(limit);
    if (message->ParseFromCodedStream(&coded) && coded.ConsumedEntireMessage()) return Parsed::kYes;
    return coded.BytesUntilTotalBytesLimit() == 0 ? Parsed::kTooLarge : Parsed::kNo;
  };
  if (!raw.compressed()) return parse(&raw);
  io::GzipInputStream inflated(&raw);
  const Parsed parsed = parse(&inflated);
  return parsed == Parsed::kYes && inflated.ZlibErrorCode() < 0 ? Parsed::kNo : parsed;
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

Status ParseMessage(std::int64_t max_bytes, grpc::ByteBuffer* bytes,
                    google::protobuf::Message* message) {
  complaint.clear();
  const Parsed parsed = Parse(max_bytes, bytes, message);
  bytes->Clear();
  if (parsed == Parsed::kYes) return OkStatus();
  const std::string field = FieldIn(complaint);
  if (!field.empty()) return InvalidField(field, "", "", "is not valid UTF-8");
  if (parsed == Parsed::kTooLarge) {
    return InvalidField(message->GetTypeName(), "", std::to_string(max_bytes), "inflates to more");
  }
  return InvalidField(message->GetTypeName(), "", "", "the bytes are no such message");
}

StatusOr<grpc::ByteBuffer> SerializeMessage(const google::protobuf::Message& message) {
  grpc::ByteBuffer bytes;
  bool own = false;
  const grpc::Status status =
      grpc::SerializationTraits<google::protobuf::Message>::Serialize(message, &bytes, &own);
  if (!status.ok()) {
    return Status(StatusCode::kInternal, Reason::kInternal,
                  "the answer cannot be written: " + status.error_message());
  }
  return bytes;
}

}  // namespace paligemma::rpc
