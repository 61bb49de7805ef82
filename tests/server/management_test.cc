// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>

#include "server/management_server.h"

namespace paligemma {
namespace {

// The whole answer to one GET.
std::string Get(int port, const std::string& path) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    const std::string request = "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    EXPECT_EQ(write(fd, request.data(), request.size()), static_cast<ssize_t>(request.size()));
    char buffer[4096];
    for (ssize_t n = 0; (n = read(fd, buffer, sizeof(buffer))) > 0;) {
      answer.append(buffer, static_cast<size_t>(n));
    }
  }
  close(fd);
  return answer;
}

TEST(ManagementTest, PagesAndProbes) {
  std::atomic<bool> ready{false};
  ManagementServer::Pages pages;
  pages.metrics = [] { return std::string("paligemma_requests_waiting 0\n"); };
  pages.configz = [] { return std::string("{}"); };
  pages.live = [] { return true; };
  pages.ready = [&ready] { return ready.load(); };
  const auto server = ManagementServer::Start("127.0.0.1:0", pages);
  ASSERT_TRUE(server.ok()) << server.status().ToString();
  const int port = (*server)->port();
  EXPECT_NE(Get(port, "/livez").find("HTTP/1.1 200"), std::string::npos);
  EXPECT_NE(Get(port, "/readyz").find("HTTP/1.1 503"), std::string::npos);
  ready = true;
  EXPECT_NE(Get(port, "/readyz").find("HTTP/1.1 200"), std::string::npos);
  EXPECT_NE(Get(port, "/metrics").find("paligemma_requests_waiting 0"), std::string::npos);
  EXPECT_NE(Get(port, "/configz").find("application/json"), std::string::npos);
  EXPECT_NE(Get(port, "/nothing").find("HTTP/1.1 404"), std::string::npos);
  const auto second = ManagementServer::Start("127.0.0.1:" + std::to_string(port), pages);
  EXPECT_FALSE(second.ok());
}

}  // namespace
}  // namespace paligemma
