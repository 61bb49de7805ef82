// SPDX-License-Identifier: Apache-2.0
// What to do about a connection that fails.
#ifndef CLIENT_CONNECTION_ADVICE_H_
#define CLIENT_CONNECTION_ADVICE_H_

#include <string>

#include "client/channel.h"

namespace paligemma::client {

// Returns a sentence that names what is at the other end (nobody, a TLS port, a port without TLS,
// an HTTP/1 port such as the management port) and what to do. Returns an empty string if `status`
// comes from a server or if the cause is unknown. May open a connection of its own, for up to two
// seconds.
std::string ConnectionAdvice(const ClientOptions& options, const Status& status);

// Returns `status` with the advice, if there is any, at the end of its message.
Status WithConnectionAdvice(const ClientOptions& options, const Status& status);

}  // namespace paligemma::client

#endif  // CLIENT_CONNECTION_ADVICE_H_
