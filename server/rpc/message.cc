// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/message.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/stubs/logging.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <algorithm>
#include <climits>
#include <new>
#include <optional>
#include <string>
#include <string_view>

#include "server/rpc/inflate.h"
#include "server/rpc/wire_scan.h"

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
  grpc_compression_algorithm compression() { return reader()->buffer_in->data.raw.compression; }
};

// Replaces `text` with the message's bytes as they are before compression, and empties `bytes`.
// `type` names the message in errors.
Status ReadBytes(std::int64_t max_bytes, const std::string& type, grpc::ByteBuffer* bytes,
                 std::string* text) {
  const auto wire_bytes = static_cast<std::int64_t>(bytes->Length());
  Reader reader(bytes);
  if (!reader.status().ok()) return InvalidField(type, "", "", "the bytes are no such message");
  const auto next = [&reader]() -> std::optional<std::string_view> {
    const void* data = nullptr;
    int size = 0;
    if (!reader.Next(&data, &size)) return std::nullopt;
    return std::string_view(static_cast<const char*>(data), static_cast<std::size_t>(size));
  };
  if (reader.compression() == GRPC_COMPRESS_NONE) {
    text->clear();
    text->reserve(static_cast<std::size_t>(wire_bytes));
    while (const auto piece = next()) text->append(*piece);
    return OkStatus();
  }
  const std::int64_t limit = std::min<std::int64_t>(
      {max_bytes, INT_MAX, std::max(kFreeInflation, kMaxInflation * wire_bytes)});
  const Encoding encoding =
      reader.compression() == GRPC_COMPRESS_GZIP ? Encoding::kGzip : Encoding::kDeflate;
  switch (Inflate(encoding, limit, next, text)) {
    case Inflated::kYes:
      return OkStatus();
    case Inflated::kTooLarge:
      return InvalidField(type, "", std::to_string(limit), "inflates to more");
    case Inflated::kDamaged:
      break;
  }
  return InvalidField(type, "", "", "the bytes are not compressed as grpc-encoding says");
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
                    google::protobuf::Message* message) try {
  complaint.clear();
  std::string text;
  const Status read = ReadBytes(max_bytes, message->GetTypeName(), bytes, &text);
  bytes->Clear();
  PG_RETURN_IF_ERROR(read);
  PG_RETURN_IF_ERROR(ScanWire(*message->GetDescriptor(), text));
  if (message->ParseFromString(text)) return OkStatus();
  const std::string field = FieldIn(complaint);
  if (!field.empty()) return InvalidField(field, "", "", "is not valid UTF-8");
  return InvalidField(message->GetTypeName(), "", "", "the bytes are no such message");
} catch (const std::bad_alloc&) {
  bytes->Clear();
  return OutOfMemory("for this message; try again later");
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
