// SPDX-License-Identifier: Apache-2.0
// Returns the memory of large messages to the system. The allocator keeps freed memory that lies
// below memory in use. Without the trimmer, an idle server would hold hundreds of MiB after some
// large pictures.
#ifndef SERVER_LIFE_HEAP_TRIMMER_H_
#define SERVER_LIFE_HEAP_TRIMMER_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>

namespace paligemma {

// Returns the resident memory of this process in bytes; 0 if the kernel does not say.
std::int64_t ResidentBytes();

// Thread compatible.
class HeapTrimmer {
 public:
  static constexpr std::int64_t kWorthwhileBytes = 16 << 20;
  static constexpr int kLooksBetween = 5;

  HeapTrimmer(std::function<std::int64_t()> resident, std::function<void()> trim)
      : resident_(std::move(resident)), trim_(std::move(trim)) {}

  // Call it from time to time while nothing runs. Trims if more memory is resident than once was,
  // and trims again later, since memory that was in use may have been freed.
  void OnIdle() {
    const std::int64_t now = resident_();
    least_ = least_ == 0 ? now : std::min(least_, now);
    ++looks_;
    if (now < least_ + kWorthwhileBytes || looks_ < kLooksBetween) return;
    looks_ = 0;
    trim_();
  }

 private:
  const std::function<std::int64_t()> resident_;
  const std::function<void()> trim_;
  std::int64_t least_ = 0;
  int looks_ = kLooksBetween;
};

}  // namespace paligemma

#endif  // SERVER_LIFE_HEAP_TRIMMER_H_
