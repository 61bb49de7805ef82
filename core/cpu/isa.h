// SPDX-License-Identifier: Apache-2.0
// The instruction sets that kernels are written for. Every kernel of an architecture is compiled
// always. The machine and --cpu-isa decide at run time which of them run.
#ifndef CORE_CPU_ISA_H_
#define CORE_CPU_ISA_H_

#include <string>
#include <string_view>
#include <vector>

#include "core/base/status.h"

namespace paligemma::cpu {

// Those of one architecture stand from the slowest to the fastest. A machine can run any of them
// without those before it: CPUs with AVX-512 need not have AVX-VNNI.
enum class Isa {
  kReference,   // none of these kernels: the ATen ones
  kAvx2,        // AVX2 and FMA
  kAvxVnni,     // AVX2, FMA and AVX-VNNI
  kAvx512,      // AVX-512 F, BW, DQ, VL and VNNI
  kAvx512Bf16,  // the same and AVX-512 BF16
  kNeon,        // AArch64: what every processor has
  kNeonDot,     // the same and dot products of signed bytes
  kNeonI8mm,    // the same and dot products of unsigned with signed bytes
};

// Names an instruction set no better than which "auto" and the tests may take. Tests of a machine
// with less than this one set it; a server has --cpu-isa.
inline constexpr char kMostIsaVariable[] = "PG_MAX_CPU_ISA";

// Returns the name of `isa` as --cpu-isa takes it, such as "avx2".
std::string_view IsaName(Isa isa);

// Returns the instruction sets of this architecture, slowest first, with kReference. Their names
// are the values of --cpu-isa besides "auto".
std::vector<Isa> KnownIsas();

// Returns true if this machine and its operating system can run it.
bool CanRun(Isa isa);

// The best that this machine can run and PG_MAX_CPU_ISA allows.
Isa DetectIsa();

// All that this machine can run and PG_MAX_CPU_ISA allows, slowest first, without kReference: what
// tests run.
std::vector<Isa> AvailableIsas();

// "auto" is DetectIsa(). INVALID_ARGUMENT for an unknown name, FAILED_PRECONDITION for one that
// this machine cannot run.
StatusOr<Isa> ChooseIsa(std::string_view requested);

// Says in a few words why ChooseIsa(requested) chose what it chose.
// REQUIRES: ChooseIsa(requested) is ok.
std::string WhyIsa(std::string_view requested);

}  // namespace paligemma::cpu

#endif  // CORE_CPU_ISA_H_
