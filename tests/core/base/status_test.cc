// SPDX-License-Identifier: Apache-2.0
#include "core/base/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/clock.h"

namespace paligemma {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(StatusTest, IsOkByDefault) {
  const Status status;
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(status.code(), StatusCode::kOk);
  EXPECT_EQ(status.ToString(), "OK");
  EXPECT_THAT(status.metadata(), IsEmpty());
}

TEST(StatusTest, AnInvalidFieldNamesFieldValueAndLimit) {
  const Status status = InvalidField("labels", "40", "32", "too many");
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(status.reason(), Reason::kFieldInvalid);
  EXPECT_THAT(status.metadata(),
              ElementsAre(Pair("field", "labels"), Pair("value", "40"), Pair("limit", "32")));
  EXPECT_THAT(status.message(), HasSubstr("labels: too many"));
}

TEST(StatusTest, KeepsEverythingWhenARetryIsAdvised) {
  const Status status = Status(StatusCode::kUnavailable, Reason::kServerOverloaded, "full")
                            .WithRetryAfter(std::chrono::milliseconds(250));
  EXPECT_EQ(status.retry_after(), std::chrono::milliseconds(250));
  EXPECT_EQ(status.reason(), Reason::kServerOverloaded);
  EXPECT_EQ(status.ToString(), "UNAVAILABLE: full");
}

StatusOr<int> Half(int value) {
  if (value % 2 != 0) return InternalError("odd");
  return value / 2;
}

StatusOr<int> Quarter(int value) {
  PG_ASSIGN_OR_RETURN(const int half, Half(value));
  PG_ASSIGN_OR_RETURN(const int quarter, Half(half));
  return quarter;
}

TEST(StatusTest, MacrosPassTheFirstErrorOn) {
  EXPECT_EQ(*Quarter(8), 2);
  EXPECT_EQ(Quarter(6).status().message(), "odd");
}

TEST(StatusDeathTest, AValueIsNeverMadeOfOk) {
  EXPECT_DEATH({ const StatusOr<int> wrong{OkStatus()}; }, "needs an error");
}

TEST(ClockTest, TheRealClockNeverGoesBack) {
  const TimePoint first = Clock::Real()->Now();
  EXPECT_LE(first, Clock::Real()->Now());
}

TEST(StatusTest, WithoutMemoryTheClientIsAskedToTryAgain) {
  const Status status = OutOfMemory("to decode an image");
  EXPECT_EQ(status.ToString(), "UNAVAILABLE: no memory to decode an image");
  EXPECT_EQ(status.reason(), Reason::kServerOverloaded);
  EXPECT_EQ(status.retry_after(), std::chrono::seconds(1));
}

}  // namespace
}  // namespace paligemma
