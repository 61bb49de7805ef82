// SPDX-License-Identifier: Apache-2.0
// Every mask is full; counts what it decodes. Thread safe.
#ifndef TESTS_TESTING_FAKE_MASK_DECODER_H_
#define TESTS_TESTING_FAKE_MASK_DECODER_H_

#include <atomic>
#include <vector>

#include "core/model/model_runner.h"
#include "tests/testing/fake_model_runner.h"

namespace paligemma {

class FakeMaskDecoder final : public MaskDecoder {
 public:
  // `gate` may be null; it is passed before each decoding.
  explicit FakeMaskDecoder(Gate* gate = nullptr) : gate_(gate) {}

  StatusOr<std::vector<float>> Decode(const std::vector<int>& codes) override {
    if (gate_ != nullptr) gate_->Pass();
    const std::size_t num_masks = codes.size() / kNumCodes;
    num_decoded_ += static_cast<int>(num_masks);
    return std::vector<float>(num_masks * kSide * kSide, 1.0f);
  }

  int num_decoded() const { return num_decoded_; }

 private:
  Gate* const gate_;
  std::atomic<int> num_decoded_{0};
};

}  // namespace paligemma

#endif  // TESTS_TESTING_FAKE_MASK_DECODER_H_
