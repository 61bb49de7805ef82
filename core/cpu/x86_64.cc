// SPDX-License-Identifier: Apache-2.0
#include <cpuid.h>

#include "core/cpu/architecture.h"

namespace paligemma::cpu {
namespace {

// What the machine has. The builtins ask the operating system too whether it keeps the wide
// registers.
struct Features {
  bool avx2 = false, avx_vnni = false, avx512 = false, avx512_bf16 = false;
};

bool HasAvxVnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 4 & 1) != 0;
}

Features ReadFeatures() {
  __builtin_cpu_init();
  Features has;
  has.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  has.avx_vnni = has.avx2 && HasAvxVnni();
  has.avx512 = has.avx2 && __builtin_cpu_supports("avx512f") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
  has.avx512_bf16 = has.avx512 && __builtin_cpu_supports("avx512bf16");
  return has;
}

}  // namespace

bool MachineCanRun(Isa isa) {
  static const Features has = ReadFeatures();
  switch (isa) {
    case Isa::kAvx2:
      return has.avx2;
    case Isa::kAvxVnni:
      return has.avx_vnni;
    case Isa::kAvx512:
      return has.avx512;
    case Isa::kAvx512Bf16:
      return has.avx512_bf16;
    default:
      return false;
  }
}

std::span<const IsaKernels> ArchitectureKernels() {
  static constexpr IsaKernels kAll[] = {{Isa::kAvx2, &kAvx2Kernels},
                                        {Isa::kAvxVnni, &kAvxVnniKernels},
                                        {Isa::kAvx512, &kAvx512Kernels},
                                        {Isa::kAvx512Bf16, &kAvx512Bf16Kernels}};
  return kAll;
}

}  // namespace paligemma::cpu
