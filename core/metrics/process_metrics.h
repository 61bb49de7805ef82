// SPDX-License-Identifier: Apache-2.0
// The process metrics of Prometheus' client libraries: CPU time, memory, descriptors, threads.
// Private to core/metrics.
#ifndef CORE_METRICS_PROCESS_METRICS_H_
#define CORE_METRICS_PROCESS_METRICS_H_

#include <prometheus/collectable.h>

#include <vector>

namespace paligemma {

// Reads /proc/self at each collection. Thread safe.
class ProcessMetrics : public prometheus::Collectable {
 public:
  std::vector<prometheus::MetricFamily> Collect() const override;
};

}  // namespace paligemma

#endif  // CORE_METRICS_PROCESS_METRICS_H_
