// SPDX-License-Identifier: Apache-2.0
// What the machine can do at most, measured with loops that do nothing else: the denominators of
// every share in the tables.
#ifndef BENCHMARKS_MACHINE_LIMITS_H_
#define BENCHMARKS_MACHINE_LIMITS_H_

#include <cstddef>

#include "core/cpu/context.h"
#include "core/cpu/packed_matrix.h"

namespace paligemma::bench {

// Seconds on the clock of all measurements: wall time or, after UseCpuTime(true), the CPU time of
// the calling thread.
double Now();
void UseCpuTime(bool use);

// Seconds to read `bytes` of `data` once, on all threads.
double SecondsToRead(const cpu::Context& context, const void* data, std::size_t bytes);

// Operations a second (a multiplication and an addition are two) of the fastest sequence known for
// the encoding on the context's instruction set, from registers alone, on all threads.
double PeakOperations(const cpu::Context& context, cpu::Encoding encoding);

}  // namespace paligemma::bench

#endif  // BENCHMARKS_MACHINE_LIMITS_H_
