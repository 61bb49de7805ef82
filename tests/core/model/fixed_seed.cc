// SPDX-License-Identifier: Apache-2.0
// Linked into a test program, it gives every test the same random tensors in every run: LibTorch's
// generator begins anywhere else, and a tolerance that is missed once in a thousand runs tells
// nobody on what.
#include <ATen/Context.h>
#include <gtest/gtest.h>

namespace paligemma::ops {
namespace {

class FixedSeed : public ::testing::EmptyTestEventListener {
  void OnTestStart(const ::testing::TestInfo&) override { at::manual_seed(7); }
};

const bool kListening = [] {
  ::testing::UnitTest::GetInstance()->listeners().Append(new FixedSeed);  // which takes it
  return true;
}();

}  // namespace
}  // namespace paligemma::ops
