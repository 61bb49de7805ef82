// SPDX-License-Identifier: Apache-2.0
// What a benchmark program prints: a Markdown table to standard output, and to --benchmark_out=FILE
// one JSON object with the machine, the commit and the same rows.
#ifndef BENCHMARKS_REPORT_H_
#define BENCHMARKS_REPORT_H_

#include <string>
#include <string_view>
#include <vector>

namespace paligemma::bench {

struct Row {
  std::string name;
  std::string unit;
  std::vector<double> ours;       // one per round
  std::vector<double> reference;  // likewise; empty: none
  std::string reference_name;
  std::string note;
  bool smaller_is_better = true;
};

double Median(std::vector<double> values);

bool HasOption(int argc, char** argv, std::string_view name);
// What follows `name` in the argument that begins with it, or nothing.
std::string OptionValue(int argc, char** argv, std::string_view name);

class Report {
 public:
  // `isa`: the instruction set that ran. Takes --benchmark_out from the arguments, nothing else.
  Report(std::string name, std::string isa, int num_threads, int argc, char** argv);

  void Add(Row row) { rows_.push_back(std::move(row)); }
  // Prints the table and writes the file. Returns false if that could not be written.
  bool Finish() const;

 private:
  const std::string name_, isa_;
  const int num_threads_;
  std::string file_, flags_;
  std::vector<Row> rows_;
};

}  // namespace paligemma::bench

#endif  // BENCHMARKS_REPORT_H_
