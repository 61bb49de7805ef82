// SPDX-License-Identifier: Apache-2.0
// grpc.health.v1.Health/Check without its generated code, which Debian does not ship.
#ifndef CLIENT_HEALTH_H_
#define CLIENT_HEALTH_H_

#include <grpcpp/channel.h>

#include <chrono>
#include <memory>
#include <string>

#include "core/base/status.h"

namespace paligemma::client {

// Whether `service` is SERVING.
StatusOr<bool> CheckHealth(std::shared_ptr<grpc::Channel> channel, const std::string& service,
                           std::chrono::milliseconds timeout);

}  // namespace paligemma::client

#endif  // CLIENT_HEALTH_H_
