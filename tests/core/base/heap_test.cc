// SPDX-License-Identifier: Apache-2.0
#include "core/base/heap.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstddef>
#include <cstring>
#include <memory>
#include <thread>

namespace paligemma {
namespace {

long PageFaults() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_minflt;
}

// Pixels and coefficients of a progressive JPEG of four megapixels.
void DecodeAPicture() {
  constexpr std::size_t kBytes = 12 << 20;
  const std::unique_ptr<char[]> pixels(new char[kBytes]), coefficients(new char[kBytes]);
  std::memset(pixels.get(), 1, kBytes);
  std::memset(coefficients.get(), 1, kBytes);
  // So that the compiler keeps the writes.
  asm volatile("" : : "r"(pixels.get()), "r"(coefficients.get()) : "memory");
}

long PageFaultsOfTheThirdPicture() {
  DecodeAPicture();
  DecodeAPicture();
  const long before = PageFaults();
  DecodeAPicture();
  return PageFaults() - before;
}

TEST(HeapTest, PicturesOfAThreadAreDecodedInTheSamePages) {
  ConfigureHeap();
  EXPECT_LT(PageFaultsOfTheThirdPicture(), 100);  // of 6144 pages
  long of_a_thread = -1;
  std::thread([&] { of_a_thread = PageFaultsOfTheThirdPicture(); }).join();
  EXPECT_LT(of_a_thread, 100);
}

}  // namespace
}  // namespace paligemma
