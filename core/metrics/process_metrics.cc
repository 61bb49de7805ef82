// SPDX-License-Identifier: Apache-2.0
#include "core/metrics/process_metrics.h"

#include <prometheus/metric_family.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

namespace paligemma {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

MetricFamily Single(const char* name, const char* help, MetricType type, double value) {
  MetricFamily family{name, help, type, {}};
  prometheus::ClientMetric& metric = family.metric.emplace_back();
  (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  return family;
}

// The fields of /proc/self/stat from the third on (state), as proc(5) numbers them.
std::vector<std::string> StatFields() {
  std::ifstream file("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  // The process name before these fields may hold any character, parentheses included.
  std::istringstream rest(text.substr(std::min(text.size(), text.rfind(')') + 1)));
  return {std::istream_iterator<std::string>(rest), std::istream_iterator<std::string>()};
}

// Field `number` of proc(5), which counts from 1.
double Field(const std::vector<std::string>& fields, size_t number) {
  return number - 3 < fields.size() ? std::stod(fields[number - 3]) : 0;
}

double BootTime() {
  std::ifstream file("/proc/stat");
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with("btime ")) return std::stod(line.substr(6));
  }
  return 0;
}

double OpenDescriptors() {
  std::error_code error;
  std::filesystem::directory_iterator entries("/proc/self/fd", error);
  // One of them is the iterator's own.
  return error ? 0 : static_cast<double>(std::distance(begin(entries), end(entries))) - 1;
}

double MaxDescriptors() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  return static_cast<double>(limit.rlim_cur);
}

}  // namespace

std::vector<MetricFamily> ProcessMetrics::Collect() const {
  const std::vector<std::string> stat = StatFields();
  const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  const double page = static_cast<double>(sysconf(_SC_PAGESIZE));
  return {
      Single("process_cpu_seconds_total", "CPU time in user and kernel mode", MetricType::Counter,
             (Field(stat, 14) + Field(stat, 15)) / ticks),
      Single("process_resident_memory_bytes", "Resident memory", MetricType::Gauge,
             Field(stat, 24) * page),
      Single("process_virtual_memory_bytes", "Virtual memory", MetricType::Gauge, Field(stat, 23)),
      Single("process_open_fds", "Open file descriptors", MetricType::Gauge, OpenDescriptors()),
      Single("process_max_fds", "Limit of open file descriptors", MetricType::Gauge,
             MaxDescriptors()),
      Single("process_threads", "Threads", MetricType::Gauge, Field(stat, 20)),
      Single("process_start_time_seconds", "Start of the process since 1970", MetricType::Gauge,
             BootTime() + Field(stat, 22) / ticks),
  };
}

}  // namespace paligemma
