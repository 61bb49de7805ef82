// SPDX-License-Identifier: Apache-2.0
// PG_CHECK(condition) << "why" prints the reason and aborts if the condition is false, in every
// build. It guards promises between programmers: nothing that a client sends may make one fail.
#ifndef CORE_BASE_CHECK_H_
#define CORE_BASE_CHECK_H_

#include <cstdlib>
#include <iostream>
#include <sstream>

namespace paligemma::internal {

class CheckFailure {
 public:
  CheckFailure(const char* file, int line, const char* condition) {
    stream_ << file << ":" << line << ": check failed: " << condition << " ";
  }
  [[noreturn]] ~CheckFailure() {
    std::cerr << stream_.str() << std::endl;
    std::abort();
  }
  std::ostream& stream() { return stream_; }

 private:
  std::ostringstream stream_;
};

}  // namespace paligemma::internal

#define PG_CHECK(condition)   \
  if (condition) [[likely]] { \
  } else                      \
    ::paligemma::internal::CheckFailure(__FILE__, __LINE__, #condition).stream()

#endif  // CORE_BASE_CHECK_H_
