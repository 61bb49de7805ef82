// SPDX-License-Identifier: Apache-2.0
#include "core/model/device.h"

#include <dlfcn.h>

#include <charconv>
#include <filesystem>
#include <optional>

#include "core/base/check.h"
#include "core/cpu/isa.h"
#include "core/model/kv_cache_plan.h"

namespace paligemma {
namespace {

constexpr const char* kPlugin = "libpaligemma_cuda.so";

// What the plugin exports (core/model/cuda/bind.cc).
struct Plugin {
  int (*device_count)() = nullptr;                   // 0: no GPU, or no driver
  std::int64_t (*free_bytes)(int device) = nullptr;  // < 0: it could not be asked
};

constexpr char kNoPlugin[] = "this build of the server has no part for GPUs (libpaligemma_cuda.so)";

// Returns true if `error` of dlopen says that there is no plugin, rather than what it lacks.
bool IsAbsent(std::string_view error) { return error.starts_with(kPlugin); }

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
    const std::string error = ::dlerror();
    return Status(StatusCode::kFailedPrecondition,
                  IsAbsent(error) ? kNoPlugin : "the CUDA plugin cannot be opened: " + error);
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

Device Device::Cuda(int index) {
  PG_CHECK(index >= 0) << "GPUs are numbered from 0";
  Device device;
  device.cuda_index_ = index;
  return device;
}

std::optional<Device> Device::Parse(std::string_view text) {
  constexpr std::string_view kCuda = "cuda:";
  if (text == "cpu") {
    return Cpu();
  }
  if (!text.starts_with(kCuda)) {
    return std::nullopt;
  }
  text.remove_prefix(kCuda.size());
  int index = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  return whole && index >= 0 ? std::optional<Device>(Cuda(index)) : std::nullopt;
}

std::string Device::ToString() const {
  return is_cpu() ? "cpu" : "cuda:" + std::to_string(cuda_index_);
}

Status CheckCpuIsa(const std::string& requested) { return cpu::ChooseIsa(requested).status(); }

StatusOr<DeviceChoice> PrepareDevice(const std::string& requested) {
  if (requested == "auto") {
    const Status status = CheckGpu(0);
    return status.ok() ? DeviceChoice{Device::Cuda(0), "the first GPU"}
                       : DeviceChoice{Device::Cpu(), "no GPU: " + status.message()};
  }
  const std::optional<Device> device = Device::Parse(requested);
  if (!device.has_value()) {
    return InvalidField("device", requested, "auto, cpu or cuda:N", "is no device");
  }
  if (device->is_cuda()) {
    if (const Status status = CheckGpu(device->cuda_index()); !status.ok()) {
      return Status(status.code(), "device " + requested + ": " + status.message());
    }
  }
  return DeviceChoice{*device, "as set"};
}

std::int64_t FreeDeviceBytes(const Device& device) {
  if (device.is_cpu()) {
    return AvailableMemoryBytes();
  }
  const StatusOr<Plugin>& plugin = ThePlugin();
  return plugin.ok() ? plugin->free_bytes(device.cuda_index()) : -1;
}

}  // namespace paligemma
