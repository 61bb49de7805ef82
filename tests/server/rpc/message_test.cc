// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/message.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "paligemma/v1/paligemma_service.pb.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace paligemma::rpc {
namespace {

constexpr std::int64_t kMaxBytes = 1 << 20;

TEST(MessageTest, PiecesBecomeAMessage) {
  v1::GenerateRequest sent;
  sent.set_prompt("caption en");
  sent.add_images()->set_content("picture");
  const std::string text = sent.SerializeAsString();
  const std::vector<grpc::Slice> slices = {grpc::Slice(text.substr(0, 5)),
                                           grpc::Slice(text.substr(5))};
  grpc::ByteBuffer bytes(slices.data(), slices.size());
  v1::GenerateRequest received;
  ASSERT_TRUE(ParseMessage(kMaxBytes, &bytes, &received).ok());
  EXPECT_EQ(received.SerializeAsString(), text);
  EXPECT_EQ(bytes.Length(), 0U);
}

TEST(MessageTest, ManyEmptyMessagesAreRefusedBeforeTheyBecomeObjects) {
  std::string text;
  for (int i = 0; i < 500'000; ++i) text += std::string_view("\x12\x00", 2);
  const grpc::Slice slice(text);
  grpc::ByteBuffer bytes(&slice, 1);
  v1::GenerateRequest received;
  EXPECT_EQ(ParseMessage(kMaxBytes, &bytes, &received).reason(), Reason::kFieldInvalid);
  EXPECT_EQ(received.images_size(), 0);
}

TEST(MessageTest, AnyBytesAreAMessageOrRefused) {
  TakeProtobufLog();
  std::mt19937 random(7);
  v1::GenerateRequest request;
  request.set_prompt("caption en");
  request.add_images()->set_content("picture");
  request.mutable_options()->mutable_tags()->insert({"a", "b"});
  const std::string text = request.SerializeAsString();
  for (int i = 0; i < 5000; ++i) {
    std::vector<std::uint8_t> input(text.begin(), text.end());
    for (int change = 0; change < 3; ++change) {
      input[random() % input.size()] = static_cast<std::uint8_t>(random());
    }
    input.resize(random() % (input.size() + 1));
    EXPECT_EQ(LLVMFuzzerTestOneInput(input.data(), input.size()), 0);
  }
}

}  // namespace
}  // namespace paligemma::rpc
