// SPDX-License-Identifier: Apache-2.0
#include "core/model/image_slots.h"

#include <algorithm>

namespace paligemma {

ImageSlots::ImageSlots(int num_slots) : slots_(std::max(num_slots, 1)) {}

std::optional<ImageSlots::Place> ImageSlots::Acquire(const ImageKey& key, bool use_cache) {
  if (use_cache) {
    if (const auto found = by_key_.find(key); found != by_key_.end()) {
      Slot& slot = slots_[found->second];
      slot.pinned = true;
      slot.last_use = ++clock_;
      return Place{found->second, true};
    }
  }
  const int victim = Victim();
  if (victim < 0) {
    return std::nullopt;
  }
  Slot& slot = slots_[victim];
  if (slot.key.has_value()) {
    by_key_.erase(*slot.key);
  }
  slot = Slot{};
  slot.pinned = slot.fresh = true;
  slot.last_use = ++clock_;
  if (use_cache) {
    slot.key = key;
    by_key_.emplace(key, victim);
  }
  return Place{victim, false};
}

void ImageSlots::Grow(int num_slots) {
  slots_.resize(std::max(slots_.size(), static_cast<std::size_t>(num_slots)));
}

void ImageSlots::EndStep(bool succeeded) {
  for (Slot& slot : slots_) {
    if (slot.fresh && !succeeded && slot.key.has_value()) {
      by_key_.erase(*slot.key);
      slot.key.reset();
    }
    slot.pinned = slot.fresh = false;
    if (!slot.key.has_value()) {
      slot.last_use = 0;  // taken first
    }
  }
}

int ImageSlots::Victim() const {
  int victim = -1;
  for (int i = 0; i < num_slots(); ++i) {
    if (!slots_[i].pinned && (victim < 0 || slots_[i].last_use < slots_[victim].last_use)) {
      victim = i;
    }
  }
  return victim;
}

}  // namespace paligemma
