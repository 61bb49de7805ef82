// SPDX-License-Identifier: Apache-2.0
#include "client/channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace paligemma::client {
namespace {

using nlohmann::json;

std::string ServiceConfig(int max_attempts) {
  json config = {{"loadBalancingConfig", {{{"round_robin", json::object()}}}}};
  if (max_attempts > 1) {
    config["methodConfig"] = {{
        {"name", {{{"service", kServiceName}}, {{"service", "paligemma.v1.ModelService"}}}},
        {"retryPolicy",
         {{"maxAttempts", max_attempts},
          {"initialBackoff", "0.2s"},
          {"maxBackoff", "2s"},
          {"backoffMultiplier", 2},
          // CANCELLED is what a call hears that crosses a server's GOAWAY. One that the caller
          // cancels is over: it is not tried again.
          {"retryableStatusCodes", {"UNAVAILABLE", "CANCELLED"}}}},
    }};
    config["retryThrottling"] = {{"maxTokens", 100}, {"tokenRatio", 0.1}};
  }
  return config.dump();
}

// The content of a file; empty for no file.
StatusOr<std::string> ReadSecret(const std::string& path) {
  if (path.empty()) return std::string();
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) return Status(StatusCode::kNotFound, path + ": cannot be read");
  return text.str();
}

bool IsThisMachine(const std::string& server) {
  for (const char* prefix : {"localhost:", "127.0.0.1:", "[::1]:", "unix:"}) {
    if (server.starts_with(prefix)) return true;
  }
  return false;
}

StatusOr<std::shared_ptr<grpc::ChannelCredentials>> Credentials(const ClientOptions& options) {
  if (!UsesTls(options)) return grpc::InsecureChannelCredentials();
  if (options.tls_cert.empty() != options.tls_key.empty()) {
    return Status(StatusCode::kInvalidArgument, "a TLS certificate and its key go together");
  }
  grpc::SslCredentialsOptions ssl;
  PG_ASSIGN_OR_RETURN(ssl.pem_root_certs, ReadSecret(options.tls_ca));
  PG_ASSIGN_OR_RETURN(ssl.pem_cert_chain, ReadSecret(options.tls_cert));
  PG_ASSIGN_OR_RETURN(ssl.pem_private_key, ReadSecret(options.tls_key));
  return grpc::SslCredentials(ssl);
}

}  // namespace

bool UsesTls(const ClientOptions& options) {
  return options.tls || !options.tls_ca.empty() || !options.tls_cert.empty() ||
         !options.tls_key.empty();
}

StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const ClientOptions& options) {
  PG_ASSIGN_OR_RETURN(auto credentials, Credentials(options));
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(ServiceConfig(options.max_attempts));
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, options.max_attempts > 1 ? 1 : 0);
  arguments.SetInt(GRPC_ARG_PER_RPC_RETRY_BUFFER_SIZE, options.retry_buffer_bytes);
  // A server that starts is found soon, not after gRPC's own two minutes.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  arguments.SetMaxReceiveMessageSize(options.max_response_bytes);
  return grpc::CreateCustomChannel(options.server, credentials, arguments);
}

StatusOr<std::string> ReadToken(const ClientOptions& options) {
  std::string token = options.token;
  if (!options.token_file.empty()) {
    PG_ASSIGN_OR_RETURN(token, ReadSecret(options.token_file));
    token.erase(token.find_last_not_of(" \r\n\t") + 1);
  }
  for (const char c : token) {
    if (c <= ' ' || c > '~') {
      return Status(StatusCode::kInvalidArgument, "the token holds bytes that no header may hold");
    }
  }
  if (!token.empty() && !UsesTls(options) && !IsThisMachine(options.server)) {
    return Status(StatusCode::kInvalidArgument,
                  "the token would travel in clear text to " + options.server + "; use --tls");
  }
  return token;
}

}  // namespace paligemma::client
