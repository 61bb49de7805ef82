// SPDX-License-Identifier: Apache-2.0
#include "client/connection_advice.h"

#include <algorithm>

#include "client/health.h"

namespace paligemma::client {
namespace {

// Parts of gRPC's own messages.
constexpr char kRefused[] = "Connection refused";
constexpr char kHttp1[] = "http1.x server";
constexpr char kUnknownName[] = "DNS resolution failed";
constexpr char kNotTls[] = "wrong version number";
constexpr char kUntrusted[] = "certificate verify failed";
constexpr char kHandshake[] = "Ssl handshake failed";

bool Contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

// Asks the same address through TLS.
bool SpeaksTls(const ClientOptions& options) {
  constexpr std::chrono::milliseconds kLongest{2000};
  ClientOptions with_tls = options;
  with_tls.tls = true;
  with_tls.max_attempts = 1;
  const auto channel = MakeChannel(with_tls);
  if (!channel.ok()) return false;
  const auto healthy = CheckHealth(*channel, kServiceName, std::min(kLongest, options.timeout));
  if (healthy.ok()) return true;
  const std::string& message = healthy.status().message();
  return Contains(message, kUntrusted) ||
         (Contains(message, kHandshake) && !Contains(message, kNotTls));
}

}  // namespace

std::string ConnectionAdvice(const ClientOptions& options, const Status& status) {
  if (status.code() != StatusCode::kUnavailable || status.reason() != Reason::kNone) return "";
  const std::string& message = status.message();
  if (Contains(message, kRefused)) {
    return "Nothing listens at " + options.server +
           ". Is the server running, and is --server right?";
  }
  if (Contains(message, kUnknownName)) return "The name of the server in --server is not known.";
  if (Contains(message, kHttp1)) {
    return options.server +
           " speaks HTTP/1.1, as the management port of the server does (/metrics, /livez). gRPC "
           "listens at the port of the server's --listen, which is 8001 by default.";
  }
  if (UsesTls(options)) {
    if (Contains(message, kNotTls)) {
      return options.server + " does not speak TLS. Leave out --tls and the other flags of TLS.";
    }
    if (Contains(message, kUntrusted)) {
      return "The certificate of " + options.server +
             " is not trusted. Name its root with --tls-ca=FILE.";
    }
    return "";
  }
  return SpeaksTls(options)
             ? options.server + " speaks TLS. Use --tls, or --tls-ca=FILE for a root of your own."
             : "";
}

Status WithConnectionAdvice(const ClientOptions& options, const Status& status) {
  const std::string advice = ConnectionAdvice(options, status);
  if (advice.empty()) return status;
  return Status(status.code(), status.reason(), advice + " (" + status.message() + ")",
                status.metadata())
      .WithRetryAfter(status.retry_after());
}

}  // namespace paligemma::client
