// SPDX-License-Identifier: Apache-2.0
// What a load test measured, and what may be said of it.
#ifndef CLIENT_LOAD_REPORT_H_
#define CLIENT_LOAD_REPORT_H_

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/load_generator.h"
#include "client/machine.h"

namespace paligemma::client {

// The value that `percent` (0 to 100) of the values do not exceed, by nearest rank. None unless at
// least ten values lie beyond it: 20 values for the median, 1,000 for the 99th.
std::optional<double> Percentile(std::vector<double> values, double percent);

// How many values that takes.
int SamplesNeeded(double percent);

// One figure of one run.
struct Figure {
  std::string name, unit;
  std::optional<double> value;  // none: the note says why
  std::string note;
};

// Requests and latencies are of what was due in the measured time, whenever it ended, answered ones
// alone; what passed a second is of what ended in it, so that an overloaded server is not credited
// with what it answered after the end.
std::vector<Figure> FiguresOf(const LoadResult& result);

using ErrorCounts = std::map<std::pair<std::string, std::string>, int>;  // by code and reason
ErrorCounts ErrorsOf(const LoadResult& result);

struct LoadReport {
  std::string flags, commit;
  MachineInfo machine;
  std::string server;                     // what it serves, for people
  std::vector<std::vector<Figure>> runs;  // the same figures for each run
  ErrorCounts errors;                     // of all runs
};

// A line for each figure: the median of the runs, and with several their range.
std::string ReportText(const LoadReport& report);
// One JSON object: {"benchmark", "machine", "commit", "flags", "server", "rows", "errors"}.
std::string ReportJson(const LoadReport& report);

}  // namespace paligemma::client

#endif  // CLIENT_LOAD_REPORT_H_
