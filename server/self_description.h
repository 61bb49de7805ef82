// SPDX-License-Identifier: Apache-2.0
// Describes the server to people and to Prometheus: what it serves, on which device, and by which
// build.
#ifndef SERVER_SELF_DESCRIPTION_H_
#define SERVER_SELF_DESCRIPTION_H_

#include "core/host/model_host.h"
#include "core/metrics/metrics.h"
#include "core/model/device.h"

namespace paligemma {

// Returns the constant labels of the metrics. `name` is the model's, "models/...".
MetricsInfo DescribeForMetrics(const Manifest& manifest, const std::string& name,
                               const DeviceChoice& device);

// Logs what was loaded and how. REQUIRES: the model is loaded.
void LogModel(const ModelHost& host, const DeviceChoice& device);

}  // namespace paligemma

#endif  // SERVER_SELF_DESCRIPTION_H_
