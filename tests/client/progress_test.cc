// SPDX-License-Identifier: Apache-2.0
#include "client/progress.h"

#include <gmock/gmock.h>

#include <sstream>

#include "tests/testing/fake_clock.h"

namespace paligemma::client {
namespace {

using ::testing::EndsWith;

TEST(ProgressBarTest, ShowsHowManyAreDoneHowManyFailedAndHowFast) {
  FakeClock clock;
  std::ostringstream out;
  ProgressBar bar(&out, 3, &clock);
  clock.Advance(std::chrono::seconds(2));
  bar.Step(true);
  EXPECT_THAT(out.str(), EndsWith("[##########....................] 1/3, 0.5/s"));
  bar.Step(false);
  EXPECT_THAT(out.str(), EndsWith("[####################..........] 2/3, 1 failed, 1.0/s"));
  bar.Step(true);
  EXPECT_THAT(out.str(), EndsWith("[##############################] 3/3, 1 failed, 1.5/s\n"));
}

TEST(ProgressBarTest, ErasesItselfForOtherOutput) {
  FakeClock clock;
  std::ostringstream out;
  ProgressBar bar(&out, 3, &clock);
  bar.Hide();
  EXPECT_EQ(out.str(), "\r\033[K");
}

TEST(ProgressBarTest, DrawsNothingWithoutATerminal) {
  FakeClock clock;
  ProgressBar bar(nullptr, 1, &clock);
  bar.Hide();
  bar.Step(true);
}

}  // namespace
}  // namespace paligemma::client
