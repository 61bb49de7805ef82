// SPDX-License-Identifier: Apache-2.0
#include "server/net/connection_book.h"

#include <gtest/gtest.h>

namespace paligemma::net {
namespace {

IpAddress Ip(std::string_view text) { return *IpAddress::Parse(text); }

ConnectionBook Book(std::int64_t all, std::int64_t per_peer, std::string_view proxies = "") {
  ConnectionBook::Limits limits;
  limits.all = all;
  limits.per_peer = per_peer;
  limits.proxies = *ParseRanges(proxies);
  return ConnectionBook(limits);
}

TEST(ConnectionBookTest, OnePeerHasItsShareAndNoMore) {
  ConnectionBook book = Book(10, 2);
  EXPECT_EQ(book.Enter(Ip("192.0.2.7")), std::nullopt);
  EXPECT_EQ(book.Enter(Ip("192.0.2.7")), std::nullopt);
  EXPECT_EQ(book.Enter(Ip("192.0.2.7")), Refusal::kPeer);
  EXPECT_EQ(book.Enter(Ip("192.0.2.8")), std::nullopt);
  EXPECT_EQ(book.num_open(), 3);
}

TEST(ConnectionBookTest, WhoLeavesMakesRoom) {
  ConnectionBook book = Book(2, 1);
  EXPECT_EQ(book.Enter(Ip("192.0.2.7")), std::nullopt);
  EXPECT_EQ(book.Enter(Ip("192.0.2.8")), std::nullopt);
  EXPECT_EQ(book.Enter(Ip("192.0.2.9")), Refusal::kAll);
  book.Leave(Ip("192.0.2.7"));
  EXPECT_EQ(book.Enter(Ip("192.0.2.8")), Refusal::kPeer);
  EXPECT_EQ(book.Enter(Ip("192.0.2.7")), std::nullopt);
}

TEST(ConnectionBookTest, AllAddressesOfASlash64AreOnePeer) {
  ConnectionBook book = Book(10, 1);
  EXPECT_EQ(book.Enter(Ip("2001:db8::1")), std::nullopt);
  EXPECT_EQ(book.Enter(Ip("2001:db8::2")), Refusal::kPeer);
  EXPECT_EQ(book.Enter(Ip("2001:db8:0:1::1")), std::nullopt);
  book.Leave(Ip("2001:db8::1"));
  EXPECT_EQ(book.Enter(Ip("2001:db8::2")), std::nullopt);
}

TEST(ConnectionBookTest, ATrustedProxyCountsInAllOnly) {
  ConnectionBook book = Book(3, 1, "10.0.0.0/8");
  EXPECT_EQ(book.Enter(Ip("10.0.0.1")), std::nullopt);
  EXPECT_EQ(book.Enter(Ip("10.0.0.1")), std::nullopt);
  EXPECT_EQ(book.Enter(std::nullopt), std::nullopt);
  EXPECT_EQ(book.Enter(Ip("10.0.0.1")), Refusal::kAll);
  book.Leave(Ip("10.0.0.1"));
  book.Leave(std::nullopt);
  EXPECT_EQ(book.num_open(), 1);
}

}  // namespace
}  // namespace paligemma::net
