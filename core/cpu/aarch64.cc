// SPDX-License-Identifier: Apache-2.0
#include <asm/hwcap.h>
#include <sys/auxv.h>

#include "core/cpu/architecture.h"

namespace paligemma::cpu {

bool MachineCanRun(Isa isa) {
  static const bool has_dot = (::getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
  static const bool has_i8mm = has_dot && (::getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
  switch (isa) {
    case Isa::kNeon:
      return true;  // every AArch64 processor has it
    case Isa::kNeonDot:
      return has_dot;
    case Isa::kNeonI8mm:
      return has_i8mm;
    default:
      return false;
  }
}

std::span<const IsaKernels> ArchitectureKernels() {
  static constexpr IsaKernels kAll[] = {{Isa::kNeon, &kNeonKernels},
                                        {Isa::kNeonDot, &kNeonDotKernels},
                                        {Isa::kNeonI8mm, &kNeonI8mmKernels}};
  return kAll;
}

}  // namespace paligemma::cpu
