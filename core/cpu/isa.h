// SPDX-License-Identifier: Apache-2.0
// The instruction sets that kernels are written for, chosen at run time. Every kernel is compiled
// always; which of them run depends on the machine and on --cpu-isa.
#ifndef CORE_CPU_ISA_H_
#define CORE_CPU_ISA_H_

#include <string_view>
#include <vector>

#include "core/base/status.h"

namespace paligemma::cpu {

// Each contains those before it. AMX has no kernels yet: machines with it run kAvx512Bf16.
enum class Isa {
  kReference,   // none of these kernels; the ATen ones
  kAvx2,        // AVX2 and FMA
  kAvx512,      // F, BW, DQ, VL and VNNI
  kAvx512Bf16,  // and BF16
};

// "reference", "avx2", "avx512", "avx512-bf16": the values of --cpu-isa besides "auto".
std::string_view IsaName(Isa isa);

// The largest that this machine and its operating system can run.
Isa DetectIsa();

// Those of the above up to DetectIsa(), smallest first, without kReference: what tests run.
std::vector<Isa> AvailableIsas();

// "auto" is DetectIsa(). INVALID_ARGUMENT for an unknown name, FAILED_PRECONDITION for one that
// this machine cannot run.
StatusOr<Isa> ChooseIsa(std::string_view requested);

}  // namespace paligemma::cpu

#endif  // CORE_CPU_ISA_H_
