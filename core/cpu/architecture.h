// SPDX-License-Identifier: Apache-2.0
// The instruction sets of one processor architecture and their kernels. CMake compiles x86_64.cc or
// aarch64.cc, which define these functions. Internal to core/cpu.
#ifndef CORE_CPU_ARCHITECTURE_H_
#define CORE_CPU_ARCHITECTURE_H_

#include <span>

#include "core/cpu/isa.h"
#include "core/cpu/kernels.h"

namespace paligemma::cpu {

// Returns true if this machine and its operating system can run `isa`, which is not kReference.
bool MachineCanRun(Isa isa);

// An instruction set with its kernels.
struct IsaKernels {
  Isa isa;
  const Kernels* kernels;
};

// Returns the instruction sets of this architecture, slowest first, without kReference.
std::span<const IsaKernels> ArchitectureKernels();

}  // namespace paligemma::cpu

#endif  // CORE_CPU_ARCHITECTURE_H_
