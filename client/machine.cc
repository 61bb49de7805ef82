// SPDX-License-Identifier: Apache-2.0
#include "client/machine.h"

#include <sched.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>

namespace paligemma::client {
namespace {

constexpr const char* kInstructionSets[] = {"avx2",        "avx_vnni", "avx512f", "avx512_vnni",
                                            "avx512_bf16", "amx_bf16", "amx_int8"};

// What stands behind the colon of the first line that begins with `key`.
std::string ValueOf(const std::string& text, const std::string& key) {
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    const size_t colon = line.find(':');
    if (!line.starts_with(key) || colon == std::string::npos) continue;
    const size_t begin = line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

std::string ReadText(const char* path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

MachineInfo ParseMachine(const std::string& cpuinfo, const std::string& meminfo, int cores) {
  MachineInfo machine;
  machine.cpu = ValueOf(cpuinfo, "model name");
  machine.cores = cores;
  std::istringstream flags(ValueOf(cpuinfo, "flags"));
  const std::set<std::string> known(std::istream_iterator<std::string>(flags), {});
  for (const char* set : kInstructionSets) {
    if (known.contains(set)) machine.isa.append(machine.isa.empty() ? "" : " ").append(set);
  }
  const double kib = std::atof(ValueOf(meminfo, "MemTotal").c_str());
  machine.memory_gb = std::round(kib / (1 << 20) * 10) / 10;
  return machine;
}

MachineInfo ThisMachine() {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  const int cores = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : 0;
  return ParseMachine(ReadText("/proc/cpuinfo"), ReadText("/proc/meminfo"), cores);
}

}  // namespace paligemma::client
