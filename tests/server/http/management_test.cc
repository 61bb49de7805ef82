// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "server/http/management_server.h"
#include "tests/server/http/http_client.h"

namespace paligemma {
namespace {

using testing::Get;
using ::testing::HasSubstr;

TEST(ManagementTest, PagesAndProbes) {
  std::atomic<bool> ready{false};
  ManagementServer::Pages pages;
  pages.metrics = [] { return std::string("paligemma_requests_waiting 0\n"); };
  pages.configz = [] { return std::string("{}"); };
  pages.live = [] { return ManagementServer::Probe{true, "ok\n"}; };
  pages.ready = [&ready] { return ManagementServer::Probe{ready.load(), "because\n"}; };
  const auto server = ManagementServer::Start("127.0.0.1:0", pages);
  ASSERT_TRUE(server.ok()) << server.status().ToString();
  const int port = (*server)->port();
  EXPECT_THAT(Get(port, "/livez"), HasSubstr("HTTP/1.1 200"));
  EXPECT_THAT(Get(port, "/readyz"), HasSubstr("HTTP/1.1 503"));
  EXPECT_THAT(Get(port, "/readyz"), HasSubstr("because\n"));
  ready = true;
  EXPECT_THAT(Get(port, "/readyz"), HasSubstr("HTTP/1.1 200"));
  EXPECT_THAT(Get(port, "/metrics"), HasSubstr("paligemma_requests_waiting 0"));
  EXPECT_THAT(Get(port, "/metrics"), HasSubstr("text/plain; version=0.0.4; charset=utf-8"));
  EXPECT_THAT(Get(port, "/configz"), HasSubstr("application/json"));
  EXPECT_THAT(Get(port, "/nothing"), HasSubstr("HTTP/1.1 404"));
  const auto second = ManagementServer::Start("127.0.0.1:" + std::to_string(port), pages);
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(second.status().message(), HasSubstr("--http-listen"));
}

}  // namespace
}  // namespace paligemma
