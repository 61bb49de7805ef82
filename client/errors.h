// SPDX-License-Identifier: Apache-2.0
// What the server says about a failed call, as a Status.
#ifndef CLIENT_ERRORS_H_
#define CLIENT_ERRORS_H_

#include <grpcpp/support/status.h>

#include <string>

#include "core/base/status.h"

namespace paligemma::client {

// Code, reason, message, the metadata of ErrorInfo, "request_id" of RequestInfo, and the delay of
// RetryInfo. Codes that our server never sends become INTERNAL with the number in the message.
Status FromGrpcStatus(const grpc::Status& status);

// "FIELD_INVALID"; empty when the failure did not come from the server.
std::string ReasonOf(const Status& status);

}  // namespace paligemma::client

#endif  // CLIENT_ERRORS_H_
