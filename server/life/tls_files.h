// SPDX-License-Identifier: Apache-2.0
// Reads and checks the files that TLS needs. About a wrong file gRPC would say only that it could
// not listen.
#ifndef SERVER_LIFE_TLS_FILES_H_
#define SERVER_LIFE_TLS_FILES_H_

#include <cstdint>
#include <string>

#include "core/base/status.h"
#include "server/config/server_config.h"

namespace paligemma {

struct TlsFiles {
  std::string cert_chain, private_key;
  std::string client_roots;  // empty: clients need no certificate
  std::int64_t expiry = 0;   // of the server's certificate, in seconds since 1970
  bool operator==(const TlsFiles&) const = default;
};

// REQUIRES: config.tls_cert is set. The error is one line that names the file.
StatusOr<TlsFiles> ReadTlsFiles(const ServerConfig& config);

}  // namespace paligemma

#endif  // SERVER_LIFE_TLS_FILES_H_
