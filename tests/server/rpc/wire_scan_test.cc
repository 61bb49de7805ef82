// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/wire_scan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "paligemma/v1/paligemma_service.pb.h"

namespace paligemma::rpc {
namespace {

std::string Repeated(std::string_view bytes, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += bytes;
  return text;
}

Status Scan(std::string_view bytes) { return ScanWire(*v1::GenerateRequest::descriptor(), bytes); }

std::string MetadataOf(const Status& status, std::string_view key) {
  for (const auto& [name, value] : status.metadata()) {
    if (name == key) return value;
  }
  return "";
}

TEST(WireScanTest, ARequestPasses) {
  v1::GenerateRequest request;
  request.set_prompt("caption en");
  request.add_images()->set_content(std::string(1000, '\xFF'));
  for (int i = 0; i < 100; ++i)
    (*request.mutable_options()->mutable_tags())[std::to_string(i)] = "";
  EXPECT_TRUE(Scan(request.SerializeAsString()).ok());
  EXPECT_TRUE(Scan("").ok());
}

TEST(WireScanTest, ARepeatedFieldHasABound) {
  EXPECT_TRUE(Scan(Repeated({"\x12\x00", 2}, kMaxOccurrences)).ok());
  const Status status = Scan(Repeated({"\x12\x00", 2}, kMaxOccurrences + 1));
  EXPECT_EQ(status.reason(), Reason::kFieldInvalid);
  EXPECT_EQ(MetadataOf(status, "field"), "images");
  EXPECT_EQ(MetadataOf(status, "limit"), std::to_string(kMaxOccurrences));
}

TEST(WireScanTest, AFieldInsideAMessageIsNamedByItsPath) {
  v1::GenerateRequest request;
  for (int i = 0; i <= kMaxOccurrences; ++i) {
    (*request.mutable_options()->mutable_tags())[std::to_string(i)] = "";
  }
  EXPECT_EQ(MetadataOf(Scan(request.SerializeAsString()), "field"), "options.tags");

  v1::GenerateRequest pictures;
  pictures.add_images();
  pictures.add_images();
  std::string text = pictures.SerializeAsString();
  const std::string inner = Repeated({"\x12\x00", 2}, kMaxOccurrences + 1);  // images[2].raw
  ASSERT_EQ(inner.size(), 2050U);
  text += std::string("\x12\x82\x10") + inner;
  EXPECT_EQ(MetadataOf(Scan(text), "field"), "images[2].raw");
}

TEST(WireScanTest, AFieldThatTheSchemaDoesNotKnowPassesWithinTheSameBound) {
  EXPECT_TRUE(Scan(Repeated({"\xA0\x3F\x01", 3}, kMaxOccurrences)).ok());
  EXPECT_EQ(Scan(Repeated({"\xA0\x3F\x01", 3}, kMaxOccurrences + 1)).reason(),
            Reason::kFieldInvalid);
}

TEST(WireScanTest, FieldsOfInnerMessagesAreCountedTogether) {
  v1::GenerateRequest request;
  const std::string inner = Repeated({"\xA0\x3F\x01", 3}, 1000);
  for (int i = 0; i < 16; ++i) request.add_images()->ParseFromString(inner);
  EXPECT_TRUE(Scan(request.SerializeAsString()).ok());
  request.add_images()->ParseFromString(inner);
  const Status status = Scan(request.SerializeAsString());
  EXPECT_EQ(MetadataOf(status, "limit"), std::to_string(kMaxFields));
}

TEST(WireScanTest, BytesThatAreNoFieldsAreRefused) {
  using namespace std::literals;
  for (const std::string_view bytes :
       {"\x00"sv, "\x12"sv, "\x12\x05\x00"sv, "\x12\xFF\xFF\xFF\xFF\x0F"sv, "\x0D\x00"sv,
        "\x09\x00"sv, "\x13\x14"sv, "\x14"sv, "\x16"sv, "\x08\xFF"sv, "\x12\x02\x12\x05"sv}) {
    EXPECT_EQ(Scan(bytes).reason(), Reason::kFieldInvalid);
  }
}

}  // namespace
}  // namespace paligemma::rpc
