// SPDX-License-Identifier: Apache-2.0
#include "client/bench_report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace paligemma::client {
namespace {

constexpr double kMinAbove = 10;
constexpr double kPercents[] = {50, 90, 95, 99, 99.9};

struct Summary {
  std::vector<double> scheduled, sent;  // answered requests alone
  std::int64_t tokens = 0, images = 0;
  std::map<std::string, int> errors;
};

Summary Summarize(const BenchReport& report) {
  Summary summary;
  for (const BenchSample& sample : report.samples) {
    if (!sample.error.empty()) {
      ++summary.errors[sample.error];
      continue;
    }
    summary.scheduled.push_back(sample.from_schedule_seconds);
    summary.sent.push_back(sample.from_send_seconds);
    summary.tokens += sample.num_tokens;
    summary.images += sample.num_images;
  }
  return summary;
}

std::string Number(double value, const char* format = "%.2f") {
  char text[48];
  std::snprintf(text, sizeof(text), format, value);
  return text;
}

std::string PercentName(double percent) { return std::string("p").append(Number(percent, "%g")); }

std::string LatencyLine(const char* name, const std::vector<double>& values) {
  std::string line(name);
  for (const double percent : kPercents) {
    const auto value = Percentile(values, percent);
    line.append("  ").append(PercentName(percent)).append(" ");
    line += value ? Number(*value * 1000) + " ms" : std::string("(too few)");
  }
  return line + "\n";
}

std::string LatencyJson(const std::vector<double>& values) {
  std::string json = "{";
  for (const double percent : kPercents) {
    const auto value = Percentile(values, percent);
    if (json.size() > 1) json += ",";
    json.append("\"").append(PercentName(percent)).append("_ms\":");
    json += value ? Number(*value * 1000, "%.3f") : std::string("null");
  }
  return json + "}";
}

}  // namespace

std::optional<double> Percentile(std::vector<double> values, double percent) {
  const auto count = static_cast<double>(values.size());
  const double above = count * (1 - percent / 100);
  if (values.empty() || above + 1e-9 < std::min(kMinAbove, count / 2)) return std::nullopt;
  const auto rank =
      static_cast<size_t>(std::clamp(std::ceil(count * percent / 100 - 1e-9) - 1, 0.0, count - 1));
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(rank),
                   values.end());
  return values[rank];
}

std::string ReportText(const BenchReport& report) {
  const Summary summary = Summarize(report);
  const double seconds = std::max(report.seconds, 1e-9);
  std::string text = report.mode + ", " + Number(report.seconds, "%.1f") +
                     " s: " + std::to_string(summary.sent.size()) + " answered, " +
                     std::to_string(report.samples.size() - summary.sent.size()) + " failed\n";
  text += Number(static_cast<double>(summary.sent.size()) / seconds) + " requests/s, " +
          Number(static_cast<double>(summary.images) / seconds) + " images/s, " +
          Number(static_cast<double>(summary.tokens) / seconds) + " tokens/s\n";
  text += LatencyLine("from schedule:", summary.scheduled);
  text += LatencyLine("from send:    ", summary.sent);
  for (const auto& [error, count] : summary.errors) {
    text += "error " + error + ": " + std::to_string(count) + "\n";
  }
  return text;
}

std::string ReportJson(const BenchReport& report) {
  const Summary summary = Summarize(report);
  const double seconds = std::max(report.seconds, 1e-9);
  std::string json = "{\"mode\":\"" + report.mode + "\"";
  json += ",\"seconds\":" + Number(report.seconds, "%.3f");
  json += ",\"answered\":" + std::to_string(summary.sent.size());
  json += ",\"failed\":" + std::to_string(report.samples.size() - summary.sent.size());
  json += ",\"requests_per_second\":" +
          Number(static_cast<double>(summary.sent.size()) / seconds, "%.4f");
  json += ",\"images_per_second\":" + Number(static_cast<double>(summary.images) / seconds, "%.4f");
  json += ",\"tokens_per_second\":" + Number(static_cast<double>(summary.tokens) / seconds, "%.4f");
  json += ",\"latency_from_schedule\":" + LatencyJson(summary.scheduled);
  json += ",\"latency_from_send\":" + LatencyJson(summary.sent);
  json += ",\"errors\":{";
  bool first = true;
  for (const auto& [error, count] : summary.errors) {
    json.append(first ? "\"" : ",\"").append(error).append("\":").append(std::to_string(count));
    first = false;
  }
  return json + "}}";
}

}  // namespace paligemma::client
