// SPDX-License-Identifier: Apache-2.0
#include "core/gpu/packing.h"

#include <algorithm>
#include <cstring>

namespace paligemma::gpu {

std::size_t PackedBytes(Type type, int outputs, int inputs) {
  return std::size_t(PanelsOf(outputs)) * StepsOf(inputs * SizeOf(type)) * kTileBytes;
}

void PackPanels(Type type, const void* canonical, int outputs, int inputs, int first_panel,
                int last_panel, void* packed) {
  const int row_bytes = inputs * SizeOf(type), steps = StepsOf(row_bytes);
  const auto* from = static_cast<const char*>(canonical);
  auto* to = static_cast<char*>(packed);
  for (int output = first_panel * kTileOutputs; output < last_panel * kTileOutputs; ++output) {
    for (int byte = 0; byte < steps * kTileRowBytes; byte += kChunkBytes) {
      char* chunk = to + PackedOffset(output, byte, steps);
      const int count = output < outputs ? std::clamp(row_bytes - byte, 0, kChunkBytes) : 0;
      std::memset(chunk, 0, kChunkBytes);
      if (count > 0) std::memcpy(chunk, from + std::size_t(output) * row_bytes + byte, count);
    }
  }
}

}  // namespace paligemma::gpu
