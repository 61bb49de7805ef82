// SPDX-License-Identifier: Apache-2.0
#include "core/cpu/isa.h"

#include <cpuid.h>

#include <algorithm>
#include <cstdlib>

#include "core/base/check.h"

namespace paligemma::cpu {
namespace {

constexpr Isa kAll[] = {Isa::kReference, Isa::kAvx2, Isa::kAvxVnni, Isa::kAvx512, Isa::kAvx512Bf16};

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

const Isa* Find(std::string_view name) {
  const Isa* found =
      std::find_if(std::begin(kAll), std::end(kAll), [&](Isa isa) { return IsaName(isa) == name; });
  return found == std::end(kAll) ? nullptr : found;
}

Isa MostIsa() {
  static const Isa most = [] {
    const char* name = std::getenv(kMostIsaVariable);
    if (name == nullptr || *name == '\0') {
      return *std::rbegin(kAll);
    }
    const Isa* isa = Find(name);
    PG_CHECK(isa != nullptr) << kMostIsaVariable << " is \"" << name << "\"; choose one of "
                             << "reference, avx2, avx-vnni, avx512, avx512-bf16";
    return *isa;
  }();
  return most;
}

}  // namespace

std::string_view IsaName(Isa isa) {
  switch (isa) {
    case Isa::kReference:
      return "reference";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvxVnni:
      return "avx-vnni";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx512Bf16:
      return "avx512-bf16";
  }
  return "";
}

bool CanRun(Isa isa) {
  static const Features has = ReadFeatures();
  switch (isa) {
    case Isa::kReference:
      return true;
    case Isa::kAvx2:
      return has.avx2;
    case Isa::kAvxVnni:
      return has.avx_vnni;
    case Isa::kAvx512:
      return has.avx512;
    case Isa::kAvx512Bf16:
      return has.avx512_bf16;
  }
  return false;
}

Isa DetectIsa() {
  const std::vector<Isa> available = AvailableIsas();
  return available.empty() ? Isa::kReference : available.back();
}

std::vector<Isa> AvailableIsas() {
  std::vector<Isa> available;
  for (const Isa isa : kAll) {
    if (isa != Isa::kReference && isa <= MostIsa() && CanRun(isa)) {
      available.push_back(isa);
    }
  }
  return available;
}

StatusOr<Isa> ChooseIsa(std::string_view requested) {
  if (requested == "auto") {
    return DetectIsa();
  }
  const Isa* isa = Find(requested);
  if (isa == nullptr) {
    return InvalidField("cpu-isa", std::string(requested),
                        "auto, reference, avx2, avx-vnni, avx512 or avx512-bf16", "is unknown");
  }
  if (!CanRun(*isa)) {
    return Status(StatusCode::kFailedPrecondition,
                  "cpu-isa " + std::string(requested) +
                      ": this machine cannot run it; its best is " +
                      std::string(IsaName(DetectIsa())));
  }
  return *isa;
}

std::string WhyIsa(std::string_view requested) {
  if (requested != "auto") {
    return "asked for by --cpu-isa";
  }
  const Isa chosen = DetectIsa();
  std::string lacks;
  for (const Isa isa : kAll) {
    if (isa > chosen && CanRun(isa)) {
      return std::string(kMostIsaVariable) + " allows no more";
    }
    if (isa > chosen) {
      lacks += (lacks.empty() ? "; it lacks " : ", ") + std::string(IsaName(isa));
    }
  }
  return "the best that this CPU can run" + lacks;
}

}  // namespace paligemma::cpu
