// SPDX-License-Identifier: Apache-2.0
#include "server/net/listener.h"

#include <gtest/gtest.h>

#include "tests/server/net/client_socket.h"

namespace paligemma::net {
namespace {

StatusOr<Listeners> ListenOn(const std::string& address) {
  return Listen(address, std::chrono::seconds(20));
}

TEST(ListenerTest, APortIsPickedAndTakesConnections) {
  for (const char* address : {"127.0.0.1:0", "localhost:0", "0.0.0.0:0", "[::]:0"}) {
    const auto listeners = ListenOn(address);
    ASSERT_TRUE(listeners.ok()) << listeners.status().message();
    EXPECT_GT(listeners->port, 0);
    EXPECT_TRUE(Connect(listeners->port).ok()) << address;
  }
}

TEST(ListenerTest, APortThatIsTakenIsRefused) {
  for (const char* host : {"127.0.0.1", "localhost", "0.0.0.0", "[::]"}) {
    const auto first = ListenOn(std::string(host) + ":0");
    ASSERT_TRUE(first.ok());
    const std::string address = std::string(host) + ":" + std::to_string(first->port);
    const auto second = ListenOn(address);
    ASSERT_FALSE(second.ok()) << address;
    EXPECT_NE(second.status().message().find(address + ": the port is taken"), std::string::npos)
        << second.status().message();
  }
}

TEST(ListenerTest, AnAddressThatIsNotHereIsRefused) {
  for (const char* address : {"192.0.2.1:0", "127.0.0.1"}) {
    const auto listeners = ListenOn(address);
    ASSERT_FALSE(listeners.ok()) << address;
    EXPECT_NE(listeners.status().message().find(address), std::string::npos);
  }
}

}  // namespace
}  // namespace paligemma::net
