// SPDX-License-Identifier: Apache-2.0
// Uninitialised memory on cache-line boundaries, for kernels' intermediate results.
#ifndef CORE_CPU_ALIGNED_BUFFER_H_
#define CORE_CPU_ALIGNED_BUFFER_H_

#include <cstddef>
#include <memory>
#include <new>

namespace paligemma::cpu {

template <typename Value>
class AlignedBuffer {
 public:
  explicit AlignedBuffer(std::size_t size)
      : data_(static_cast<Value*>(::operator new(size * sizeof(Value), kAlignment))) {}

  Value* data() { return data_.get(); }
  const Value* data() const { return data_.get(); }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(Value* data) const { ::operator delete(data, kAlignment); }
  };
  std::unique_ptr<Value, Free> data_;
};

}  // namespace paligemma::cpu

#endif  // CORE_CPU_ALIGNED_BUFFER_H_
