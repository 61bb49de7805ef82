// SPDX-License-Identifier: Apache-2.0
// The connection to a server: address, TLS, credentials, retries.
#ifndef CLIENT_CHANNEL_H_
#define CLIENT_CHANNEL_H_

#include <grpcpp/channel.h>

#include <chrono>
#include <memory>
#include <string>

#include "core/base/status.h"

namespace paligemma::client {

inline constexpr char kServiceName[] = "paligemma.v1.PaliGemmaService";

struct ClientOptions {
  // HOST:PORT, or dns:///HOST:PORT to spread calls over all addresses of a name.
  std::string server = "localhost:8001";
  std::chrono::milliseconds timeout{60'000};  // of a call, retries included
  // TLS when any is set.
  bool tls = false;
  std::string tls_ca, tls_cert, tls_key;  // PEM files
  // Bearer token, itself or in a file; needs TLS unless the server is this machine.
  std::string token, token_file;
  // How often to try a call that is UNAVAILABLE or that the server cancelled, 1 to 5 (gRPC's own
  // limit).
  int max_attempts = 4;
  int max_response_bytes = 64 << 20;
  // What a call may send and still be retried; gRPC's own 256 KiB are less than most pictures.
  int retry_buffer_bytes = 256 << 20;
};

// Returns true if any option of TLS is set.
bool UsesTls(const ClientOptions& options);

// Does not connect yet. gRPC itself retries UNAVAILABLE and what the server cancelled: after the
// delay that the server's grpc-retry-pushback-ms asks for (never, where it is negative), else after
// a jittered backoff; not once a stream has begun, and not while most calls fail. The error is a
// usage error: a file that cannot be read, a token that would travel in clear text.
StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const ClientOptions& options);

// The token to send, of either source; empty: none.
StatusOr<std::string> ReadToken(const ClientOptions& options);

}  // namespace paligemma::client

#endif  // CLIENT_CHANNEL_H_
