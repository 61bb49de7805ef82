// SPDX-License-Identifier: Apache-2.0
#include "benchmarks/report.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string_view>
#include <thread>

namespace paligemma::bench {
namespace {

std::string CpuName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) {
      return line.substr(line.find(':') + 2);
    }
  }
  return "unknown";
}

// How much better ours is, above 1 if it is; 0 without a reference.
double Ratio(const Row& row) {
  if (row.reference.empty()) {
    return 0;
  }
  const double ours = Median(row.ours), reference = Median(row.reference);
  return row.smaller_is_better ? reference / ours : ours / reference;
}

}  // namespace

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

bool HasOption(int argc, char** argv, std::string_view name) {
  return std::find(argv, argv + argc, name) != argv + argc;
}

std::string OptionValue(int argc, char** argv, std::string_view name) {
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]).starts_with(name)) return argv[i] + name.size();
  }
  return "";
}

Report::Report(std::string name, std::string isa, int num_threads, int argc, char** argv)
    : name_(std::move(name)), isa_(std::move(isa)), num_threads_(num_threads) {
  file_ = OptionValue(argc, argv, "--benchmark_out=");
  for (int i = 1; i < argc; ++i) {
    flags_.append(i > 1 ? " " : "").append(argv[i]);
  }
}

bool Report::Finish() const {
  std::cout << "| what | unit | ours (min, median, max) | reference | ours is better by | note |\n"
            << "|---|---|---|---|---|---|\n"
            << std::setprecision(3);
  nlohmann::json rows = nlohmann::json::array();
  for (const Row& row : rows_) {
    const auto [least, most] = std::minmax_element(row.ours.begin(), row.ours.end());
    const double ratio = Ratio(row);
    std::cout << "| " << row.name << " | " << row.unit << " | " << *least << ", "
              << Median(row.ours) << ", " << *most << " | ";
    if (ratio > 0) {
      std::cout << row.reference_name << " " << Median(row.reference) << " | " << ratio << " | ";
    } else {
      std::cout << "| | ";
    }
    std::cout << row.note << " |\n";
    nlohmann::json entry{{"name", row.name},
                         {"unit", row.unit},
                         {"ours", {{"min", *least}, {"median", Median(row.ours)}, {"max", *most}}},
                         {"note", row.note}};
    if (ratio > 0) {
      entry["reference"] = Median(row.reference);
      entry["reference_name"] = row.reference_name;
      entry["ratio"] = ratio;
    }
    rows.push_back(std::move(entry));
  }
  if (file_.empty()) {
    return true;
  }
  const char* commit = std::getenv("PG_COMMIT");
  const double bytes = static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE);
  const nlohmann::json report{{"benchmark", name_},
                              {"machine",
                               {{"cpu", CpuName()},
                                {"cores", std::thread::hardware_concurrency()},
                                {"threads", num_threads_},
                                {"isa", isa_},
                                {"memory_gb", bytes * 1e-9},
                                {"gpu", nullptr}}},
                              {"commit", commit == nullptr ? "unknown" : commit},
                              {"flags", flags_},
                              {"rows", std::move(rows)}};
  std::ofstream out(file_);
  out << report.dump(1) << "\n";
  return out.good();
}

}  // namespace paligemma::bench
