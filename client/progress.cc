// SPDX-License-Identifier: Apache-2.0
#include "client/progress.h"

#include <cstdio>

namespace paligemma::client {
namespace {

constexpr int kWidth = 30;
constexpr char kErase[] = "\r\033[K";

}  // namespace

ProgressBar::ProgressBar(std::ostream* out, int total, const Clock* clock)
    : out_(out), total_(total), clock_(clock), start_(clock->Now()) {}

void ProgressBar::Hide() {
  if (out_ != nullptr) *out_ << kErase << std::flush;
}

void ProgressBar::Step(bool succeeded) {
  ++done_;
  if (!succeeded) ++failed_;
  if (out_ == nullptr) return;
  *out_ << kErase << Line() << (done_ == total_ ? "\n" : "") << std::flush;
}

std::string ProgressBar::Line() const {
  const int filled = kWidth * done_ / total_;
  std::string line("[");
  line.append(static_cast<size_t>(filled), '#').append(static_cast<size_t>(kWidth - filled), '.');
  line.append("] ").append(std::to_string(done_)).append("/").append(std::to_string(total_));
  if (failed_ > 0) line.append(", ").append(std::to_string(failed_)).append(" failed");
  const double seconds = std::chrono::duration<double>(clock_->Now() - start_).count();
  if (seconds > 0) {
    char rate[32];
    std::snprintf(rate, sizeof(rate), ", %.1f/s", done_ / seconds);
    line += rate;
  }
  return line;
}

}  // namespace paligemma::client
