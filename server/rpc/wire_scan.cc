// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/wire_scan.h"

#include <google/protobuf/io/coded_stream.h>

#include <cstdint>
#include <map>
#include <string>

namespace paligemma::rpc {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::io::CodedInputStream;

constexpr int kUnknownField = 0;  // no field has this number

// The low three bits of a tag.
enum WireType : std::uint32_t { kVarint = 0, kFixed64 = 1, kLengthDelimited = 2, kFixed32 = 5 };

// Where a message stands: in a field of another one, which is null at the top.
struct Place {
  const Place* outer = nullptr;
  const FieldDescriptor* field = nullptr;
  int index = 0;  // among the occurrences of the field
};

// Returns a field's path as the rules for requests write it, options.tags or images[1].raw.
std::string PathOf(const Place& place, const FieldDescriptor& field) {
  std::string path;
  for (const Place* at = &place; at->field != nullptr; at = at->outer) {
    std::string step = at->field->name();
    if (at->field->is_repeated()) step.append("[").append(std::to_string(at->index)).append("]");
    path.insert(0, step.append("."));
  }
  return path.append(field.name());
}

class Scanner {
 public:
  Status Scan(const Descriptor& type, std::string_view bytes, int depth, const Place& place) {
    if (depth > kMaxDepth) {
      return InvalidField(type.full_name(), std::to_string(depth), std::to_string(kMaxDepth),
                          "too many messages inside one another");
    }
    CodedInputStream stream(reinterpret_cast<const std::uint8_t*>(bytes.data()),
                            static_cast<int>(bytes.size()));
    std::map<int, int> occurrences;  // by field number
    while (const std::uint32_t tag = stream.ReadTag()) {
      const FieldDescriptor* const field = type.FindFieldByNumber(static_cast<int>(tag >> 3));
      int& count = occurrences[field == nullptr ? kUnknownField : field->number()];
      PG_RETURN_IF_ERROR(Count(type, field, place, ++count));
      if ((tag & 7) != kLengthDelimited) {
        if (!SkipScalar(tag & 7, &stream)) return Malformed(type);
        continue;
      }
      std::uint32_t size = 0;
      if (!stream.ReadVarint32(&size)) return Malformed(type);
      const auto begin = static_cast<std::size_t>(stream.CurrentPosition());
      if (size > bytes.size() - begin) return Malformed(type);
      if (field != nullptr && field->type() == FieldDescriptor::TYPE_MESSAGE) {
        const Place inner{&place, field, count - 1};
        PG_RETURN_IF_ERROR(
            Scan(*field->message_type(), bytes.substr(begin, size), depth + 1, inner));
      }
      if (!stream.Skip(static_cast<int>(size))) return Malformed(type);
    }
    return stream.ConsumedEntireMessage() ? OkStatus() : Malformed(type);
  }

 private:
  static Status Malformed(const Descriptor& type) {
    return InvalidField(type.full_name(), "", "", "the bytes are no such message");
  }

  // Returns false for groups, too: proto3 has none, and nothing bounds the fields inside.
  static bool SkipScalar(std::uint32_t wire_type, CodedInputStream* stream) {
    std::uint64_t varint = 0;
    switch (wire_type) {
      case kVarint:
        return stream->ReadVarint64(&varint);
      case kFixed64:
        return stream->Skip(8);
      case kFixed32:
        return stream->Skip(4);
      default:
        return false;
    }
  }

  Status Count(const Descriptor& type, const FieldDescriptor* field, const Place& place,
               int count) {
    if (++num_fields_ > kMaxFields) {
      return InvalidField(type.full_name(), "more", std::to_string(kMaxFields),
                          "too many fields in one message");
    }
    if (count <= kMaxOccurrences) return OkStatus();
    return InvalidField(field == nullptr ? type.full_name() : PathOf(place, *field), "more",
                        std::to_string(kMaxOccurrences),
                        field == nullptr ? "too many unknown fields" : "stands there too often");
  }

  int num_fields_ = 0;
};

}  // namespace

Status ScanWire(const Descriptor& type, std::string_view bytes) {
  return Scanner().Scan(type, bytes, 1, Place());
}

}  // namespace paligemma::rpc
