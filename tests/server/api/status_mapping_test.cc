// SPDX-License-Identifier: Apache-2.0
#include "server/api/status_mapping.h"

#include <gmock/gmock.h>

#include "core/request/endings.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "paligemma/v1/error_reason.pb.h"

namespace paligemma {
namespace {

template <typename Detail>
bool Find(const grpc::Status& status, Detail* detail) {
  google::rpc::Status rich;
  if (!rich.ParseFromString(status.error_details())) return false;
  for (const auto& any : rich.details()) {
    if (any.UnpackTo(detail)) return true;
  }
  return false;
}

TEST(ErrorMappingTest, EveryReasonOfTheApiHasOneOfCore) {
  for (int i = v1::ErrorReason_MIN + 1; i <= v1::ErrorReason_MAX; ++i) {
    ASSERT_TRUE(v1::ErrorReason_IsValid(i));
    EXPECT_EQ("ERROR_REASON_" + ReasonName(static_cast<Reason>(i)),
              v1::ErrorReason_Name(static_cast<v1::ErrorReason>(i)));
  }
}

TEST(ErrorMappingTest, ABadFieldNamesItselfAndTheRequest) {
  const grpc::Status status =
      ToGrpcStatus(InvalidField("generation_config.top_p", "2", "1", "is too large"), "id-1");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(Find(status, &info));
  EXPECT_EQ(info.domain(), "paligemma.serving");
  EXPECT_EQ(info.reason(), "FIELD_INVALID");
  EXPECT_EQ(info.metadata().at("limit"), "1");
  google::rpc::BadRequest bad;
  ASSERT_TRUE(Find(status, &bad));
  EXPECT_EQ(bad.field_violations(0).field(), "generation_config.top_p");
  google::rpc::RequestInfo request;
  ASSERT_TRUE(Find(status, &request));
  EXPECT_EQ(request.request_id(), "id-1");
}

TEST(ErrorMappingTest, OverloadAsksForAPause) {
  const Status overload = Status(StatusCode::kUnavailable, Reason::kServerOverloaded, "full")
                              .WithRetryAfter(std::chrono::milliseconds(1500));
  google::rpc::RetryInfo retry;
  ASSERT_TRUE(Find(ToGrpcStatus(overload, ""), &retry));
  EXPECT_EQ(retry.retry_delay().seconds(), 1);
  EXPECT_EQ(retry.retry_delay().nanos(), 500'000'000);
  EXPECT_EQ(RetryPushback(overload), "1500");
  EXPECT_EQ(RetryPushback(DrainingStatus()), "0");
  EXPECT_EQ(RetryPushback(InternalError("x")), std::nullopt);
  EXPECT_EQ(RetryPushback(OkStatus()), std::nullopt);
}

TEST(ErrorMappingTest, AnErrorWithoutAReasonIsOurFault) {
  const grpc::Status status = ToGrpcStatus(Status(StatusCode::kNotFound, "a file"), "");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL);
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(Find(status, &info));
  EXPECT_EQ(info.reason(), "INTERNAL");
}

TEST(ErrorMappingTest, BrokenAndLongTextIsMadeSafe) {
  const std::string text = "caf\xC3\xA9 \xFF" + std::string(5000, 'x');
  const grpc::Status status =
      ToGrpcStatus(Status(StatusCode::kInternal, Reason::kInternal, text), "");
  EXPECT_LE(status.error_message().size(), 1024u);
  EXPECT_EQ(status.error_message().substr(0, 8), "caf\xC3\xA9 ?x");
}

TEST(ErrorMappingTest, CodesAreSpelledAsInGo) {
  EXPECT_EQ(CamelCodeName(StatusCode::kOk), "OK");
  EXPECT_EQ(CamelCodeName(StatusCode::kDeadlineExceeded), "DeadlineExceeded");
  EXPECT_EQ(CamelCodeName(StatusCode::kCancelled), "Canceled");
}

}  // namespace
}  // namespace paligemma
