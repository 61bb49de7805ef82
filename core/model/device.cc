// SPDX-License-Identifier: Apache-2.0
#include "core/model/device.h"

#include <dlfcn.h>

#include <charconv>
#include <filesystem>
#include <optional>

#include "core/model/kv_cache_plan.h"

namespace paligemma {
namespace {

constexpr const char* kPlugin = "libpaligemma_cuda.so";

// What the plugin exports (core/model/cuda/bind.cc).
struct Plugin {
  int (*device_count)() = nullptr;                   // 0: no GPU, or no driver
  std::int64_t (*free_bytes)(int device) = nullptr;  // < 0: it could not be asked
};

StatusOr<Plugin> OpenPlugin() {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::string beside = error ? "" : (program.parent_path() / kPlugin).string();
  void* handle = nullptr;
  if (!beside.empty() && std::filesystem::exists(beside, error)) {
    handle = ::dlopen(beside.c_str(), RTLD_NOW | RTLD_GLOBAL);
  } else {
    handle = ::dlopen(kPlugin, RTLD_NOW | RTLD_GLOBAL);
  }
  if (handle == nullptr) {
    return Status(StatusCode::kFailedPrecondition,
                  std::string("the CUDA plugin cannot be opened: ") + ::dlerror());
  }
  Plugin plugin;
  plugin.device_count = reinterpret_cast<int (*)()>(::dlsym(handle, "paligemma_cuda_device_count"));
  plugin.free_bytes =
      reinterpret_cast<std::int64_t (*)(int)>(::dlsym(handle, "paligemma_cuda_free_bytes"));
  if (plugin.device_count == nullptr || plugin.free_bytes == nullptr) {
    return Status(StatusCode::kFailedPrecondition,
                  std::string(kPlugin) + " belongs to another version of the server");
  }
  return plugin;
}

// Opened once per process.
const StatusOr<Plugin>& ThePlugin() {
  static const auto* plugin = new StatusOr<Plugin>(OpenPlugin());
  return *plugin;
}

std::optional<int> CudaIndex(std::string_view device) {
  if (!device.starts_with("cuda:")) {
    return std::nullopt;
  }
  device.remove_prefix(5);
  int index = -1;
  const auto [end, error] = std::from_chars(device.data(), device.data() + device.size(), index);
  const bool whole = error == std::errc() && end == device.data() + device.size();
  return whole && index >= 0 ? std::optional<int>(index) : std::nullopt;
}

// OK if GPU `index` can be used.
Status CheckGpu(int index) {
  const StatusOr<Plugin>& plugin = ThePlugin();
  PG_RETURN_IF_ERROR(plugin.status());
  const int count = plugin->device_count();
  if (index >= count) {
    return Status(StatusCode::kFailedPrecondition,
                  count == 0 ? "no NVIDIA GPU or no driver for one"
                             : "there are " + std::to_string(count) + " GPUs, numbered from 0");
  }
  return OkStatus();
}

}  // namespace

StatusOr<DeviceChoice> PrepareDevice(const std::string& requested) {
  if (requested == "cpu") {
    return DeviceChoice{"cpu", "as set"};
  }
  if (requested == "auto") {
    const Status status = CheckGpu(0);
    return status.ok() ? DeviceChoice{"cuda:0", "the first GPU"}
                       : DeviceChoice{"cpu", "no GPU: " + status.message()};
  }
  const std::optional<int> index = CudaIndex(requested);
  if (!index.has_value()) {
    return InvalidField("device", requested, "auto, cpu or cuda:N", "is no device");
  }
  if (const Status status = CheckGpu(*index); !status.ok()) {
    return Status(status.code(), "device " + requested + ": " + status.message());
  }
  return DeviceChoice{requested, "as set"};
}

std::int64_t FreeDeviceBytes(const std::string& device) {
  const std::optional<int> index = CudaIndex(device);
  if (!index.has_value()) {
    return AvailableMemoryBytes();
  }
  const StatusOr<Plugin>& plugin = ThePlugin();
  return plugin.ok() ? plugin->free_bytes(*index) : -1;
}

}  // namespace paligemma
