// SPDX-License-Identifier: Apache-2.0
#include "server/net/ip_address.h"

#include <gtest/gtest.h>

namespace paligemma::net {
namespace {

IpAddress Ip(std::string_view text) { return *IpAddress::Parse(text); }
std::vector<IpRange> Ranges(std::string_view text) { return *ParseRanges(text); }

TEST(IpAddressTest, ReadsAndWritesBothKinds) {
  for (const char* text : {"192.0.2.7", "0.0.0.0", "255.255.255.255", "2001:db8::7", "::", "::1"}) {
    EXPECT_EQ(Ip(text).ToString(), text);
  }
  for (const char* text :
       {"", "192.0.2", "192.0.2.256", "localhost", "[::1]", "::1%lo", "::1 ", "1"}) {
    EXPECT_FALSE(IpAddress::Parse(text).has_value()) << text;
  }
  EXPECT_FALSE(IpAddress::Parse(std::string_view("::1\0x", 5)).has_value());
}

TEST(IpAddressTest, AnIpv4AddressIsTheSameHoweverItCame) {
  EXPECT_EQ(Ip("::ffff:192.0.2.7"), Ip("192.0.2.7"));
  EXPECT_TRUE(Ip("::ffff:192.0.2.7").is_v4());
  EXPECT_FALSE(Ip("::192.0.2.7").is_v4());
}

TEST(IpAddressTest, APeerIsAnIpv4AddressOrAnIpv6Slash64) {
  EXPECT_NE(Ip("192.0.2.7").Peer(), Ip("192.0.2.8").Peer());
  EXPECT_EQ(Ip("2001:db8:1:2::7").Peer(), Ip("2001:db8:1:2:ffff:ffff:ffff:ffff").Peer());
  EXPECT_NE(Ip("2001:db8:1:2::7").Peer(), Ip("2001:db8:1:3::7").Peer());
  EXPECT_EQ(Ip("2001:db8:1:2::7").Peer().ToString(), "2001:db8:1:2::");
}

TEST(IpAddressTest, RangesContainWhatTheyName) {
  const auto ranges = Ranges("10.0.0.0/8, 192.0.2.7,fd00::/8,2001:db8::/33");
  for (const char* inside :
       {"10.255.0.1", "192.0.2.7", "fdff::1", "2001:db8:7fff::1", "::ffff:10.0.0.1"}) {
    EXPECT_TRUE(ContainedIn(ranges, Ip(inside))) << inside;
  }
  for (const char* outside : {"11.0.0.1", "192.0.2.8", "fe00::1", "2001:db8:8000::1"}) {
    EXPECT_FALSE(ContainedIn(ranges, Ip(outside))) << outside;
  }
  EXPECT_TRUE(Ranges("").empty());
  EXPECT_TRUE(ContainedIn(Ranges("0.0.0.0/0"), Ip("192.0.2.7")));
  EXPECT_FALSE(ContainedIn(Ranges("0.0.0.0/0"), Ip("2001:db8::7"))) << "IPv4 alone";
  EXPECT_TRUE(ContainedIn(Ranges("::/0"), Ip("2001:db8::7")));
}

TEST(IpAddressTest, WhatIsNoRangeIsRefused) {
  for (const char* text : {"10.0.0.0/33", "fd00::/129", "10.0.0.0/-1", "10.0.0.0/", "10.0.0.0/8x",
                           "x", "10.0.0.0/8,,::1", ","}) {
    EXPECT_FALSE(ParseRanges(text).has_value()) << text;
  }
}

TEST(IpAddressTest, ReadsThePeersOfGrpc) {
  EXPECT_EQ(AddressOfPeer("ipv4:192.0.2.7:1234"), Ip("192.0.2.7"));
  EXPECT_EQ(AddressOfPeer("ipv6:%5B2001:db8::7%5D:1234"), Ip("2001:db8::7"));
  EXPECT_EQ(AddressOfPeer("ipv6:[::1]:1234"), Ip("::1"));
  for (const char* text : {"", "unix:/run/socket", "ipv4:", "ipv4:1", "unknown"}) {
    EXPECT_FALSE(AddressOfPeer(text).has_value()) << text;
  }
}

TEST(IpAddressTest, TheClientIsTheLastForwardedAddressThatIsNoProxy) {
  const auto proxies = Ranges("10.0.0.0/8");
  const auto client = [&](std::string_view text) { return ForwardedClient(proxies, text); };
  EXPECT_EQ(client("192.0.2.7"), Ip("192.0.2.7"));
  EXPECT_EQ(client("192.0.2.7, 10.0.0.1"), Ip("192.0.2.7"));
  EXPECT_EQ(client("203.0.113.1, 192.0.2.7 , 10.0.0.1,10.0.0.2"), Ip("192.0.2.7"));
  EXPECT_EQ(client("10.0.0.3, 10.0.0.1"), Ip("10.0.0.3")) << "a client inside";
  EXPECT_EQ(client("nonsense, 192.0.2.7"), Ip("192.0.2.7"));
  EXPECT_EQ(client("nonsense, 10.0.0.1"), Ip("10.0.0.1"));
  EXPECT_EQ(client("192.0.2.7, nonsense"), std::nullopt);
  EXPECT_EQ(client(""), std::nullopt);
}

}  // namespace
}  // namespace paligemma::net
