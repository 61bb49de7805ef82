// SPDX-License-Identifier: Apache-2.0
// TLS whose files are read anew for every connection: a renewed certificate needs no restart.
#ifndef SERVER_LIFE_TLS_CREDENTIALS_H_
#define SERVER_LIFE_TLS_CREDENTIALS_H_

#include <grpcpp/security/server_credentials.h>

#include <memory>

#include "core/base/status.h"
#include "server/config/server_config.h"

namespace paligemma {

// REQUIRES: config.tls_cert is set. Must outlive the server that listens with it, and `config` it.
// The error is one line that names the file. Files that turn bad later change nothing and are
// logged; connections that are open keep what they have.
StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeTlsCredentials(const ServerConfig& config);

}  // namespace paligemma

#endif  // SERVER_LIFE_TLS_CREDENTIALS_H_
