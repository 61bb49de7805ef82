// SPDX-License-Identifier: Apache-2.0
// Parses and writes messages. gRPC does not do it for us, since it ends a call that it cannot parse
// with a bare INTERNAL, and inflates compressed messages without a bound. Thread safe.
#ifndef SERVER_RPC_MESSAGE_H_
#define SERVER_RPC_MESSAGE_H_

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstdint>

#include "core/base/status.h"

namespace paligemma::rpc {

// Replaces `message` and empties `bytes`, which may be compressed (gzip, deflate). Returns
// FIELD_INVALID if the bytes are no such message, inflate to more than `max_bytes` or than
// rpc::kMaxInflation allows, or break a bound of ScanWire; the error names the field if it is
// known, else the message's type. Returns SERVER_OVERLOADED if memory runs out.
Status ParseMessage(std::int64_t max_bytes, grpc::ByteBuffer* bytes,
                    google::protobuf::Message* message);

// Returns the message's bytes, or INTERNAL when protobuf cannot write it: it is above 2 GiB.
StatusOr<grpc::ByteBuffer> SerializeMessage(const google::protobuf::Message& message);

// Takes over protobuf's messages about bad input. Protobuf would write them to standard error,
// where any client could fill the log; ParseMessage() finds the name of a bad field in them. Call
// it once, before the first ParseMessage().
void TakeProtobufLog();

}  // namespace paligemma::rpc

#endif  // SERVER_RPC_MESSAGE_H_
