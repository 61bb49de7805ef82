// SPDX-License-Identifier: Apache-2.0
// Which slot of the image cache holds which image: least recently used ones are replaced, those of
// the running step never. Integers only. Thread safety: none.
#ifndef CORE_MODEL_IMAGE_SLOTS_H_
#define CORE_MODEL_IMAGE_SLOTS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "core/request/image.h"

namespace paligemma {

class ImageSlots {
 public:
  explicit ImageSlots(int num_slots);

  struct Place {
    int slot = 0;
    bool hit = false;  // its rows are there already
  };
  // Pins a slot for the image until EndStep. nullopt: every slot is pinned; Grow.
  std::optional<Place> Acquire(const ImageKey& key, bool use_cache);

  void Grow(int num_slots);

  // Unpins everything. When the step failed, what it newly placed is forgotten: its rows may hold
  // anything.
  void EndStep(bool succeeded);

  int num_slots() const { return static_cast<int>(slots_.size()); }
  int num_cached() const { return static_cast<int>(by_key_.size()); }

 private:
  struct Slot {
    std::optional<ImageKey> key;
    bool pinned = false;
    bool fresh = false;  // placed in this step
    std::uint64_t last_use = 0;
  };
  int Victim() const;  // -1: none

  std::vector<Slot> slots_;
  std::map<ImageKey, int> by_key_;
  std::uint64_t clock_ = 0;
};

}  // namespace paligemma

#endif  // CORE_MODEL_IMAGE_SLOTS_H_
