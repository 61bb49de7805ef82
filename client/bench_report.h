// SPDX-License-Identifier: Apache-2.0
// What a load test measured, and what may be said of it.
#ifndef CLIENT_BENCH_REPORT_H_
#define CLIENT_BENCH_REPORT_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace paligemma::client {

struct BenchSample {
  double from_schedule_seconds = 0;  // from when it should have been sent
  double from_send_seconds = 0;      // from when it was
  int num_tokens = 0, num_images = 0;
  std::string error;  // "UNAVAILABLE SERVER_OVERLOADED"; empty: answered
};

// The percentile (0 to 100), if that many samples support it: at least 10 must lie above.
std::optional<double> Percentile(std::vector<double> values, double percent);

struct BenchReport {
  std::string mode;  // "closed, 8 clients" or "open, 5 requests/s"
  double seconds = 0;
  std::vector<BenchSample> samples;
};

// For people.
std::string ReportText(const BenchReport& report);
// One JSON object.
std::string ReportJson(const BenchReport& report);

}  // namespace paligemma::client

#endif  // CLIENT_BENCH_REPORT_H_
