// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: any bytes are a message within bounds or refused by name, compressed or not.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "core/base/check.h"
#include "paligemma/v1/paligemma_service.pb.h"
#include "server/rpc/inflate.h"
#include "server/rpc/message.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using paligemma::rpc::Encoding;
  constexpr std::int64_t kMaxBytes = 1 << 16;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const Encoding encoding : {Encoding::kGzip, Encoding::kDeflate}) {
    std::string text;
    std::optional<std::string_view> piece = bytes;
    const auto next = [&piece] { return std::exchange(piece, std::nullopt); };
    if (paligemma::rpc::Inflate(encoding, kMaxBytes, next, &text) !=
        paligemma::rpc::Inflated::kYes) {
      continue;
    }
    PG_CHECK(static_cast<std::int64_t>(text.size()) <= kMaxBytes) << "inflates beyond the bound";
  }
  const grpc::Slice slice(data, size);
  grpc::ByteBuffer buffer(&slice, 1);
  paligemma::v1::GenerateRequest request;
  const paligemma::Status status = paligemma::rpc::ParseMessage(kMaxBytes, &buffer, &request);
  PG_CHECK(status.ok() || status.reason() == paligemma::Reason::kFieldInvalid) << "another reason";
  PG_CHECK(!status.ok() || request.images_size() <= 1024) << "beyond the bound of a field";
  return 0;
}
