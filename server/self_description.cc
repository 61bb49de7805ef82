// SPDX-License-Identifier: Apache-2.0
#include "server/self_description.h"

#include <string>

#include "core/base/build_info.h"
#include "core/base/task.h"
#include "server/life/log.h"

namespace paligemma {

MetricsInfo DescribeForMetrics(const Manifest& manifest, const std::string& name,
                               const DeviceChoice& device) {
  MetricsInfo info;
  info.version = BuildVersion();
  info.commit = BuildCommit();
  info.torch = TorchVersion();
  info.cuda = CudaVersion();
  info.model = name;
  info.revision = manifest.revision;
  info.dtype = manifest.dtype;
  info.device = device.device.ToString();
  for (const TaskTraits& traits : kTasks) {
    info.rpcs.push_back({"paligemma.v1.PaliGemmaService", std::string(traits.name), "unary"});
  }
  info.rpcs.push_back({"paligemma.v1.PaliGemmaService", "StreamGenerate", "server_stream"});
  for (const char* method : {"ListModels", "GetModel"}) {
    info.rpcs.push_back({"paligemma.v1.ModelService", method, "unary"});
  }
  return info;
}

void LogModel(const ModelHost& host, const DeviceChoice& device) {
  const ModelSummary& summary = host.Summary();
  const Manifest& manifest = host.manifest();
  LogInfo("model " + host.name() + ": revision " + manifest.revision + ", " +
          std::to_string(manifest.image.size) + " px, " + std::to_string(manifest.image.tokens) +
          " image tokens, " + manifest.dtype + ", quantization " + manifest.quantization + ", " +
          std::to_string((summary.vision_parameters + summary.decoder_parameters) / 1000) +
          "k parameters, " + std::to_string(summary.weight_bytes >> 20) + " MiB");
  LogInfo("device " + device.device.ToString() +
          (device.reason.empty() ? "" : " (" + device.reason + ")") + ", " +
          std::to_string(host.options().num_threads) + " threads" +
          (summary.cpu_isa.empty()
               ? ""
               : ", kernels for " + summary.cpu_isa + " (" + summary.cpu_isa_reason + ")"));
  LogInfo("KV cache (" + summary.kv_dtype + "): " + summary.kv.arithmetic);
}

}  // namespace paligemma
