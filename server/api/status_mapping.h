// SPDX-License-Identifier: Apache-2.0
// The only bridge between core's Status and gRPC's: google.rpc.Status with ErrorInfo, BadRequest,
// RetryInfo, ResourceInfo and RequestInfo in `grpc-status-details-bin`. Pure functions.
#ifndef SERVER_API_STATUS_MAPPING_H_
#define SERVER_API_STATUS_MAPPING_H_

#include <grpcpp/support/status.h>

#include <optional>
#include <string>

#include "core/base/status.h"

namespace paligemma {

inline constexpr char kErrorDomain[] = "paligemma.serving";
// Trailing metadata that standard clients obey: milliseconds; negative: do not retry.
inline constexpr char kPushbackKey[] = "grpc-retry-pushback-ms";

// "FIELD_INVALID": the reason as ErrorInfo.reason has it. kNone is "INTERNAL".
std::string ReasonName(Reason reason);

// An error without a reason is a fault of ours and leaves as INTERNAL, so that a client never sees
// a reason that the API does not list. Messages are cut at 1,024 bytes and are valid UTF-8.
grpc::Status ToGrpcStatus(const Status& status, const std::string& request_id);

// The value for kPushbackKey, if this error asks for one.
std::optional<std::string> RetryPushback(const Status& status);

// As "DeadlineExceeded", the spelling of Go's metrics.
std::string CamelCodeName(StatusCode code);

}  // namespace paligemma

#endif  // SERVER_API_STATUS_MAPPING_H_
