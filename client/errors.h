// SPDX-License-Identifier: Apache-2.0
// What the server says about a failed call, as a Status.
#ifndef CLIENT_ERRORS_H_
#define CLIENT_ERRORS_H_

#include <grpcpp/support/status.h>

#include <cstddef>
#include <string>

#include "core/base/status.h"

namespace paligemma::client {

// Returns code, reason, message, the metadata of ErrorInfo, "request_id" of RequestInfo, and the
// delay of RetryInfo. Codes that our server never sends become INTERNAL with the number in the
// message. `request_bytes` is the size of the request as sent: where gRPC itself refused a message
// as too large, it tells whether that was the request or the response.
Status FromGrpcStatus(const grpc::Status& status, std::size_t request_bytes);

// "FIELD_INVALID"; empty when the failure did not come from the server.
std::string ReasonOf(const Status& status);

}  // namespace paligemma::client

#endif  // CLIENT_ERRORS_H_
