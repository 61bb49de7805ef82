// SPDX-License-Identifier: Apache-2.0
#include "server/http/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <future>

#include "tests/server/http/http_client.h"

namespace paligemma::http {
namespace {

using ::paligemma::testing::Get;
using ::paligemma::testing::HttpClient;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr char kGet[] = "GET /quick HTTP/1.1\r\nHost: x\r\n\r\n";

// /quick answers at once, /echo with the body, /large with what no socket buffers, and /slow when
// the test ends the wait.
class HttpServerTest : public ::testing::Test {
 protected:
  ~HttpServerTest() override { EndWait(); }

  void Start(const Limits& limits = {}) {
    std::vector<Route> routes(4);
    routes[0] = {"/quick", [](const Request&) { return Response{200, "text/plain", "quick"}; }};
    routes[1] = {"/echo", [](const Request& r) { return Response{200, "text/plain", r.body}; }};
    routes[2] = {"/large", [](const Request&) {
                   return Response{200, "text/plain", std::string(64 << 20, 'x')};
                 }};
    routes[3] = {"/slow",
                 [this](const Request&) {
                   slow_began_.set_value();
                   slow_may_end_.get_future().wait();
                   return Response{200, "text/plain", "slow"};
                 },
                 true};
    auto server = Server::Start("127.0.0.1:0", std::move(routes), limits);
    ASSERT_TRUE(server.ok()) << server.status().ToString();
    server_ = std::move(server).value();
    port_ = server_->port();
  }
  void EndWait() {
    if (!std::exchange(ended_, true)) slow_may_end_.set_value();
  }

  std::promise<void> slow_began_, slow_may_end_;
  bool ended_ = false;
  std::unique_ptr<Server> server_;
  int port_ = 0;
};

TEST_F(HttpServerTest, AnswersItsRoutes) {
  Start();
  EXPECT_THAT(Get(port_, "/quick"), StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(Get(port_, "/quick?what=ever"), HasSubstr("\r\n\r\nquick"));
  EXPECT_THAT(Get(port_, "/quick/"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(Get(port_, "/nothing"), HasSubstr("/quick /echo /large /slow"));
}

TEST_F(HttpServerTest, AnswersGetAndHeadAlone) {
  Start();
  HttpClient head(port_), post(port_);
  head.Send("HEAD /quick HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const std::string answer = head.ReadAll();
  EXPECT_THAT(answer, HasSubstr("Content-Length: 5\r\n"));
  EXPECT_THAT(answer, Not(HasSubstr("quick")));
  post.Send("POST /quick HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx");
  EXPECT_THAT(post.ReadAll(), StartsWith("HTTP/1.1 405 "));
}

TEST_F(HttpServerTest, AConnectionAsksManyTimes) {
  Start();
  HttpClient client(port_);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(client.Send(kGet));
    EXPECT_THAT(client.ReadUntil("quick"), StartsWith("HTTP/1.1 200 "));
  }
  ASSERT_TRUE(
      client.Send(std::string(kGet) +
                  "GET /echo HTTP/1.1\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmore"))
      << "without waiting for the answer";
  EXPECT_THAT(client.ReadAll(),
              ::testing::AllOf(HasSubstr("quickHTTP/1.1"), HasSubstr("\r\n\r\nmore")));
}

TEST_F(HttpServerTest, WhatIsTooLongOrNoHttpIsRefusedAtOnce) {
  Limits limits;
  limits.max_header_bytes = 1024;
  limits.max_body_bytes = 10;
  Start(limits);
  const std::pair<std::string, std::string> refused[] = {
      {"GET /quick HTTP/1.1\r\nX: " + std::string(2000, 'x'), "431"},
      {"GET /echo HTTP/1.1\r\nContent-Length: 11\r\n\r\n", "413"},
      {"GET /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nFF\r\n", "413"},
      {"\x16\x03\x01 no HTTP\r\n\r\n", "400"},
      {"GET /echo HTTP/1.1\r\nContent-Length: many\r\n\r\n", "400"},
  };
  for (const auto& [request, code] : refused) {
    HttpClient client(port_);
    client.Send(request);
    EXPECT_THAT(client.ReadAll(), StartsWith("HTTP/1.1 " + code + " ")) << request;
  }
  EXPECT_THAT(Get(port_, "/quick"), HasSubstr("200"));
}

TEST_F(HttpServerTest, ConnectionsThatSendNothingOrHalfARequestDelayNobody) {
  Start();
  std::vector<HttpClient> clients;
  for (int i = 0; i < 200; ++i) {
    clients.emplace_back(port_);
    if (i % 2 == 0) clients.back().Send("GET /quick HTTP/1.1\r\nHost:");
  }
  EXPECT_THAT(Get(port_, "/quick"), HasSubstr("200"));
  clients.front().Send(" x\r\n\r\n");
  EXPECT_THAT(clients.front().ReadUntil("quick"), HasSubstr("200"));
}

TEST_F(HttpServerTest, BeyondTheBoundTheConnectionAnsweredLongestAgoGoes) {
  Limits limits;
  limits.max_connections = 3;
  Start(limits);
  HttpClient first(port_), second(port_), third(port_);
  for (HttpClient* client : {&first, &second, &third, &first}) {
    client->Send(kGet);
    EXPECT_THAT(client->ReadUntil("quick"), HasSubstr("200"));
  }
  EXPECT_THAT(Get(port_, "/quick"), HasSubstr("200"));
  EXPECT_TRUE(second.IsClosed());
  for (HttpClient* client : {&first, &third}) {
    client->Send(kGet);
    EXPECT_THAT(client->ReadUntil("quick"), HasSubstr("200"));
  }
}

TEST_F(HttpServerTest, ARequestThatIsBeingAnsweredKeepsItsConnection) {
  Limits limits;
  limits.max_connections = 1;
  Start(limits);
  HttpClient slow(port_);
  slow.Send("GET /slow HTTP/1.1\r\nConnection: close\r\n\r\n");
  slow_began_.get_future().wait();
  HttpClient second(port_);
  EXPECT_TRUE(second.IsClosed()) << "there is no place for it";
  EndWait();
  EXPECT_THAT(slow.ReadAll(), HasSubstr("slow"));
}

TEST_F(HttpServerTest, AQuickPageDoesNotWaitForASlowOne) {
  Start();
  HttpClient slow(port_);
  slow.Send("GET /slow HTTP/1.1\r\nConnection: close\r\n\r\n");
  slow_began_.get_future().wait();
  EXPECT_THAT(Get(port_, "/quick"), HasSubstr("200"));
  EndWait();
  EXPECT_THAT(slow.ReadAll(), HasSubstr("slow"));
}

TEST_F(HttpServerTest, AConnectionThatIsSlowOrIdleForTooLongIsClosed) {
  Limits limits;
  limits.request_time = limits.idle_time = Millis(20);
  Start(limits);
  HttpClient idle(port_), half(port_), body(port_), deaf(port_);
  half.Send("GET /quick HTTP/1.1\r\nHost:");
  body.Send("GET /echo HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf");
  deaf.Send("GET /large HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(idle.IsClosed());
  EXPECT_TRUE(half.IsClosed());
  EXPECT_TRUE(body.IsClosed());
  EXPECT_LT(deaf.ReadAll().size(), std::size_t{64 << 20}) << "it has not read meanwhile";
}

TEST_F(HttpServerTest, AClientThatDripsWinsNoTime) {
  Limits limits;
  limits.request_time = Millis(50);
  Start(limits);
  HttpClient client(port_);
  client.Send("GET /quick HTTP/1.1\r\nX: ");
  int num_sent = 0;
  while (num_sent < 1000 && !client.Wait(std::chrono::milliseconds(5))) {
    num_sent += client.Send("x") ? 1 : 0;
  }
  EXPECT_LT(num_sent, 1000);
  EXPECT_TRUE(client.IsClosed());
}

TEST_F(HttpServerTest, WithoutDescriptorsTheOldestConnectionMakesRoom) {
  rlimit old{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
  rlimit low = old;
  low.rlim_cur = std::min<rlim_t>(256, old.rlim_max);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  Start();
  HttpClient first(port_), second;
  first.Send(kGet);
  first.ReadUntil("quick");
  std::vector<int> copies;
  for (int copy = 0; (copy = dup(0)) >= 0;) copies.push_back(copy);
  EXPECT_TRUE(second.Connect(port_));
  second.Send(kGet);
  EXPECT_THAT(second.ReadUntil("quick"), HasSubstr("200"));
  EXPECT_TRUE(first.IsClosed());
  for (const int copy : copies) close(copy);
  setrlimit(RLIMIT_NOFILE, &old);
}

TEST_F(HttpServerTest, ListensOnNamesAndAddresses) {
  for (const char* address : {"localhost:0", "127.0.0.1:0", "0.0.0.0:0"}) {
    const auto server = Server::Start(address, {});
    ASSERT_TRUE(server.ok()) << server.status().ToString();
    EXPECT_GT((*server)->port(), 0) << address;
  }
  for (const char* address : {"[::1]:0", "[::]:0"}) {
    const auto server = Server::Start(address, {});
    EXPECT_TRUE(!server.ok() || (*server)->port() > 0) << address;  // there may be no IPv6
  }
  Start();
  const std::string taken = "127.0.0.1:" + std::to_string(port_);
  for (const std::string& address : {taken, std::string("no.such.host.invalid:0")}) {
    const auto server = Server::Start(address, {});
    ASSERT_FALSE(server.ok()) << address;
    EXPECT_THAT(server.status().message(), StartsWith("cannot listen on " + address + ": "));
  }
}

}  // namespace
}  // namespace paligemma::http
