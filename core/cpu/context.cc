// SPDX-License-Identifier: Apache-2.0
#include "core/cpu/context.h"

namespace paligemma::cpu {
namespace {

thread_local const Context* current = nullptr;

}  // namespace

const Context& CurrentContext() {
  static const Context alone{DetectIsa(), nullptr};
  return current != nullptr ? *current : alone;
}

ContextScope::ContextScope(const Context& context) : outer_(current) { current = &context; }
ContextScope::~ContextScope() { current = outer_; }

}  // namespace paligemma::cpu
