// SPDX-License-Identifier: Apache-2.0
#include "client/load_report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace paligemma::client {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMinBeyond = 10;
constexpr double kPercents[] = {50, 90, 95, 99, 99.9};

double Seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

std::string Format(const char* format, double value) {
  char text[48];
  std::snprintf(text, sizeof(text), format, value);
  return text;
}

bool IsMeasured(const LoadResult& result, TimePoint time) {
  return time >= result.begin && time < result.end;
}

void AddPercentiles(const std::string& name, const std::string& what,
                    const std::vector<double>& values, std::vector<Figure>* figures) {
  for (const double percent : kPercents) {
    Figure figure{name + "_p" + Format("%g", percent), "ms", Percentile(values, percent), ""};
    if (!figure.value) {
      figure.note = "needs " + std::to_string(SamplesNeeded(percent)) + " " + what +
                    ", there are " + std::to_string(values.size());
    }
    figures->push_back(std::move(figure));
  }
}

// Median, or the mean of the two in the middle. REQUIRES: not empty.
double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

// The values of figure `index` in all runs; empty when a run lacks it.
std::vector<double> ValuesOf(const LoadReport& report, size_t index) {
  std::vector<double> values;
  for (const std::vector<Figure>& run : report.runs) {
    if (!run[index].value) return {};
    values.push_back(*run[index].value);
  }
  return values;
}

// The note of the first run that has one.
std::string NoteOf(const LoadReport& report, size_t index) {
  for (const std::vector<Figure>& run : report.runs) {
    if (!run[index].note.empty()) return run[index].note;
  }
  return "";
}

}  // namespace

int SamplesNeeded(double percent) {
  return static_cast<int>(std::ceil(kMinBeyond / (1 - percent / 100) - 1e-6));
}

std::optional<double> Percentile(std::vector<double> values, double percent) {
  if (static_cast<int>(values.size()) < SamplesNeeded(percent)) return std::nullopt;
  const double rank = std::ceil(static_cast<double>(values.size()) * percent / 100 - 1e-6);
  const auto nth = values.begin() + static_cast<std::ptrdiff_t>(rank) - 1;
  std::nth_element(values.begin(), nth, values.end());
  return *nth;
}

std::vector<Figure> FiguresOf(const LoadResult& result) {
  std::vector<double> from_due, from_sent, first_event;
  double due = 0, ended = 0, tokens = 0, images = 0, image_tokens = 0, cached = 0, latest = 0;
  for (const LoadSample& sample : result.samples) {
    const CallOutcome& outcome = sample.outcome;
    if (outcome.code.empty() && IsMeasured(result, sample.done)) {
      ended += 1;
      tokens += outcome.tokens;
      images += outcome.images;
    }
    if (!IsMeasured(result, sample.due)) continue;
    due += 1;
    latest = std::max(latest, Seconds(sample.sent - sample.due) * 1e3);
    if (!outcome.code.empty()) continue;
    from_due.push_back(Seconds(sample.done - sample.due) * 1e3);
    from_sent.push_back(Seconds(sample.done - sample.sent) * 1e3);
    image_tokens += outcome.image_tokens;
    cached += outcome.cached_image_tokens;
    if (outcome.first_event != TimePoint()) {
      first_event.push_back(Seconds(outcome.first_event - sample.due) * 1e3);
    }
  }
  const double seconds = Seconds(result.end - result.begin);
  const auto answered = static_cast<double>(from_due.size());
  std::vector<Figure> figures = {
      {"requests_due", "requests", due, ""},
      {"requests_answered", "requests", answered, "of those due"},
      {"requests_failed", "requests", due - answered, "of those due"},
      {"offered", "requests/s", due / seconds, ""},
      {"throughput", "requests/s", ended / seconds, "answered within the time measured"},
      {"images", "images/s", images / seconds, ""},
      {"tokens", "tokens/s", tokens / seconds, ""},
      {"image_cache_hits", "%", image_tokens > 0 ? 100 * cached / image_tokens : 0,
       "image tokens that needed no encoding"},
      {"latest_send", "ms", latest,
       "largest delay of a send: all calls in flight, or the client busy"},
  };
  AddPercentiles("latency_from_schedule", "answers", from_due, &figures);
  AddPercentiles("latency_from_send", "answers", from_sent, &figures);
  AddPercentiles("time_to_first_token", "streamed answers", first_event, &figures);
  return figures;
}

ErrorCounts ErrorsOf(const LoadResult& result) {
  ErrorCounts errors;
  for (const LoadSample& sample : result.samples) {
    if (sample.outcome.code.empty() || !IsMeasured(result, sample.due)) continue;
    ++errors[{sample.outcome.code, sample.outcome.reason}];
  }
  return errors;
}

std::string ReportText(const LoadReport& report) {
  std::string text = report.server.empty() ? "" : report.server + "\n";
  for (size_t i = 0; i < report.runs.front().size(); ++i) {
    const Figure& figure = report.runs.front()[i];
    const std::vector<double> values = ValuesOf(report, i);
    const std::string note = NoteOf(report, i);
    char line[160];
    std::snprintf(line, sizeof(line), "%-28s %10s %-10s", figure.name.c_str(),
                  values.empty() ? "-" : Format("%.2f", Median(values)).c_str(),
                  figure.unit.c_str());
    text += line;
    if (values.size() > 1) {
      const auto [low, high] = std::minmax_element(values.begin(), values.end());
      text.append(" ").append(Format("%.2f", *low));
      text.append(" to ").append(Format("%.2f", *high));
    }
    text.append(note.empty() ? "" : "  ").append(note).append("\n");
  }
  for (const auto& [error, count] : report.errors) {
    text.append("error ").append(error.first).append(" ").append(error.second);
    text.append(": ").append(std::to_string(count)).append("\n");
  }
  return text;
}

std::string ReportJson(const LoadReport& report) {
  Json rows = Json::array();
  for (size_t i = 0; i < report.runs.front().size(); ++i) {
    const Figure& figure = report.runs.front()[i];
    const std::vector<double> values = ValuesOf(report, i);
    Json ours;
    if (!values.empty()) {
      const auto [low, high] = std::minmax_element(values.begin(), values.end());
      ours = {{"min", *low}, {"median", Median(values)}, {"max", *high}};
    }
    rows.push_back({{"name", figure.name},
                    {"unit", figure.unit},
                    {"ours", ours},
                    {"reference", nullptr},
                    {"reference_name", nullptr},
                    {"ratio", nullptr},
                    {"note", NoteOf(report, i)}});
  }
  Json errors = Json::array();
  for (const auto& [error, count] : report.errors) {
    errors.push_back({{"code", error.first}, {"reason", error.second}, {"count", count}});
  }
  const Json json = {{"benchmark", "paligemma bench"},
                     {"machine",
                      {{"cpu", report.machine.cpu},
                       {"cores", report.machine.cores},
                       {"isa", report.machine.isa},
                       {"memory_gb", report.machine.memory_gb},
                       {"gpu", nullptr}}},
                     {"commit", report.commit},
                     {"flags", report.flags},
                     {"server", report.server},
                     {"rows", rows},
                     {"errors", errors}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace paligemma::client
