// SPDX-License-Identifier: Apache-2.0
#include "core/cpu/isa.h"

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "core/base/check.h"
#include "core/cpu/architecture.h"

namespace paligemma::cpu {
namespace {

// Returns the names as a sentence lists them: "a, b or c".
std::string ListOf(const std::vector<Isa>& isas) {
  std::string list;
  for (std::size_t i = 0; i < isas.size(); ++i) {
    list += i == 0 ? "" : i + 1 == isas.size() ? " or " : ", ";
    list += IsaName(isas[i]);
  }
  return list;
}

std::optional<Isa> Find(std::string_view name) {
  const std::vector<Isa> known = KnownIsas();
  const auto found = std::ranges::find(known, name, IsaName);
  return found == known.end() ? std::nullopt : std::optional(*found);
}

Isa MostIsa() {
  static const Isa most = [] {
    const char* name = std::getenv(kMostIsaVariable);
    if (name == nullptr || *name == '\0') {
      return KnownIsas().back();
    }
    const std::optional<Isa> isa = Find(name);
    PG_CHECK(isa.has_value()) << kMostIsaVariable << " is \"" << name << "\"; choose "
                              << ListOf(KnownIsas());
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
    case Isa::kNeon:
      return "neon";
    case Isa::kNeonDot:
      return "neon-dot";
    case Isa::kNeonI8mm:
      return "neon-i8mm";
  }
  return "";
}

std::vector<Isa> KnownIsas() {
  std::vector<Isa> known = {Isa::kReference};
  for (const IsaKernels& each : ArchitectureKernels()) {
    known.push_back(each.isa);
  }
  return known;
}

bool CanRun(Isa isa) { return isa == Isa::kReference || MachineCanRun(isa); }

Isa DetectIsa() {
  const std::vector<Isa> available = AvailableIsas();
  return available.empty() ? Isa::kReference : available.back();
}

std::vector<Isa> AvailableIsas() {
  std::vector<Isa> available;
  for (const Isa isa : KnownIsas()) {
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
  const std::optional<Isa> isa = Find(requested);
  if (!isa.has_value()) {
    return InvalidField("cpu-isa", std::string(requested), "auto, " + ListOf(KnownIsas()),
                        "is unknown");
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
  for (const Isa isa : KnownIsas()) {
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
