// SPDX-License-Identifier: Apache-2.0
// A bar on a terminal while many requests run: "[########............] 12/30, 1 failed, 3.2/s".
// Not thread safe.
#ifndef CLIENT_PROGRESS_H_
#define CLIENT_PROGRESS_H_

#include <ostream>
#include <string>

#include "core/base/clock.h"

namespace paligemma::client {

class ProgressBar {
 public:
  // Draws nothing where `out` is null. Neither is owned.
  ProgressBar(std::ostream* out, int total, const Clock* clock);

  // Erases the bar, for other output to the same terminal; Step draws it again.
  void Hide();
  // One more is done.
  void Step(bool succeeded);

 private:
  std::string Line() const;

  std::ostream* const out_;
  const int total_;
  const Clock* const clock_;
  const TimePoint start_;
  int done_ = 0, failed_ = 0;
};

}  // namespace paligemma::client

#endif  // CLIENT_PROGRESS_H_
