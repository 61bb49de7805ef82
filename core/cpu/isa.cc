// SPDX-License-Identifier: Apache-2.0
#include "core/cpu/isa.h"

#include <string>

namespace paligemma::cpu {
namespace {

constexpr Isa kAll[] = {Isa::kReference, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Bf16};

}  // namespace

std::string_view IsaName(Isa isa) {
  switch (isa) {
    case Isa::kReference:
      return "reference";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx512Bf16:
      return "avx512-bf16";
  }
  return "";
}

// The builtins ask the operating system too whether it keeps the wide registers.
Isa DetectIsa() {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
    return Isa::kReference;
  }
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl") ||
      !__builtin_cpu_supports("avx512vnni")) {
    return Isa::kAvx2;
  }
  return __builtin_cpu_supports("avx512bf16") ? Isa::kAvx512Bf16 : Isa::kAvx512;
}

std::vector<Isa> AvailableIsas() {
  std::vector<Isa> available;
  for (const Isa isa : kAll) {
    if (isa != Isa::kReference && isa <= DetectIsa()) {
      available.push_back(isa);
    }
  }
  return available;
}

StatusOr<Isa> ChooseIsa(std::string_view requested) {
  if (requested == "auto") {
    return DetectIsa();
  }
  for (const Isa isa : kAll) {
    if (requested != IsaName(isa)) {
      continue;
    }
    if (isa > DetectIsa()) {
      return Status(StatusCode::kFailedPrecondition, "cpu-isa " + std::string(requested) +
                                                         ": this machine has no more than " +
                                                         std::string(IsaName(DetectIsa())));
    }
    return isa;
  }
  return InvalidField("cpu-isa", std::string(requested),
                      "auto, reference, avx2, avx512 or avx512-bf16", "is unknown");
}

}  // namespace paligemma::cpu
