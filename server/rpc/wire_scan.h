// SPDX-License-Identifier: Apache-2.0
// Counts the fields of a message on the wire, before protobuf makes objects of them. An object is
// up to a hundred times as large as its two bytes on the wire.
#ifndef SERVER_RPC_WIRE_SCAN_H_
#define SERVER_RPC_WIRE_SCAN_H_

#include <google/protobuf/descriptor.h>

#include <string_view>

#include "core/base/status.h"

namespace paligemma::rpc {

// How often one field may stand in one message. Also bounds fields that are not repeated, whose
// copies protobuf would merge, and those that the schema does not know, taken together.
inline constexpr int kMaxOccurrences = 1024;
// Fields of a message and of all messages inside it.
inline constexpr int kMaxFields = 16'384;
// Messages inside one another.
inline constexpr int kMaxDepth = 32;

// Returns FIELD_INVALID, with the field's path and its limit, if `bytes` break a bound, or if they
// are no fields at all. Values are not looked at: what passes may still fail to parse. Takes time
// in proportion to the number of fields, at most kMaxFields. Thread safe.
Status ScanWire(const google::protobuf::Descriptor& type, std::string_view bytes);

}  // namespace paligemma::rpc

#endif  // SERVER_RPC_WIRE_SCAN_H_
