// SPDX-License-Identifier: Apache-2.0
// What a processor's architecture decides. x86_64.cc or aarch64.cc defines it, whichever CMake
// compiles. Internal to core/cpu.
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
