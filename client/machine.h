// SPDX-License-Identifier: Apache-2.0
// The machine that a benchmark ran on.
#ifndef CLIENT_MACHINE_H_
#define CLIENT_MACHINE_H_

#include <string>

namespace paligemma::client {

struct MachineInfo {
  std::string cpu;  // model name
  int cores = 0;    // that this process may use
  std::string isa;  // what matters to the kernels, e.g. "avx2 avx512_vnni amx_int8"
  double memory_gb = 0;
};

// From the texts of /proc/cpuinfo and /proc/meminfo; unknown parts stay empty.
MachineInfo ParseMachine(const std::string& cpuinfo, const std::string& meminfo, int cores);
MachineInfo ThisMachine();

}  // namespace paligemma::client

#endif  // CLIENT_MACHINE_H_
