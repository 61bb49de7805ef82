// SPDX-License-Identifier: Apache-2.0
// Between bytes on the wire and messages, by ourselves: what gRPC cannot parse it ends with a bare
// INTERNAL, and it inflates what is compressed without a bound. Thread safe.
#ifndef SERVER_RPC_MESSAGE_H_
#define SERVER_RPC_MESSAGE_H_

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstdint>

#include "core/base/status.h"

namespace paligemma::rpc {

// Replaces `message` and empties `bytes`, which may be compressed (gzip, deflate). FIELD_INVALID
// when they are no such message, or inflate to more than `max_bytes`; the field is named when it is
// a string that is not UTF-8, else it is the message's type.
Status ParseMessage(std::int64_t max_bytes, grpc::ByteBuffer* bytes,
                    google::protobuf::Message* message);

// Returns the message's bytes, or INTERNAL when protobuf cannot write it: it is above 2 GiB.
StatusOr<grpc::ByteBuffer> SerializeMessage(const google::protobuf::Message& message);

// Protobuf writes about bad input to standard error, where any client could fill the log. Once,
// before the first ParseMessage, which is when the name of a bad field is known.
void TakeProtobufLog();

}  // namespace paligemma::rpc

#endif  // SERVER_RPC_MESSAGE_H_
