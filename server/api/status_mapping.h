// SPDX-License-Identifier: Apache-2.0
// Turns core's Status into gRPC's: google.rpc.Status with ErrorInfo, BadRequest, RetryInfo,
// ResourceInfo and RequestInfo in `grpc-status-details-bin`. No other code does so. Pure functions.
#ifndef SERVER_API_STATUS_MAPPING_H_
#define SERVER_API_STATUS_MAPPING_H_

#include <grpcpp/support/status.h>

#include <optional>
#include <string>

#include "core/base/status.h"

namespace paligemma {

inline constexpr char kErrorDomain[] = "paligemma.serving";
// Trailing metadata that standard clients obey: the milliseconds to wait before a retry; a negative
// number forbids the retry.
inline constexpr char kPushbackKey[] = "grpc-retry-pushback-ms";

// Returns the reason as ErrorInfo.reason has it, such as "FIELD_INVALID". kNone is "INTERNAL".
std::string ReasonName(Reason reason);

// Returns an error without a reason as INTERNAL, since it is a fault of the server. A client thus
// never sees a reason that the API does not list. Messages are cut at 1,024 bytes and are valid
// UTF-8.
grpc::Status ToGrpcStatus(const Status& status, const std::string& request_id);

// Returns the value of kPushbackKey, if the error asks for a retry or forbids it.
std::optional<std::string> RetryPushback(const Status& status);

// Returns the code as Go's metrics spell it, such as "DeadlineExceeded".
std::string CamelCodeName(StatusCode code);

}  // namespace paligemma

#endif  // SERVER_API_STATUS_MAPPING_H_
