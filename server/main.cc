// SPDX-License-Identifier: Apache-2.0
// paligemma-server. Exit codes: 0 drained (also when calls had to be ended), 1 could not start or a
// fatal fault, 2 wrong usage.
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <iostream>
#include <string>
#include <vector>

#include "core/base/build_info.h"
#include "core/base/heap.h"
#include "core/bundle/manifest.h"
#include "core/model/device.h"
#include "server/access/auth_tokens.h"
#include "server/config/config_loader.h"
#include "server/life/log.h"
#include "server/life/tls_files.h"
#include "server/net/descriptors.h"
#include "server/serving.h"

namespace {

using paligemma::Status;

constexpr int kOk = 0, kFailed = 1, kUsage = 2;

// Blocks the signals, so that WaitForSignal() alone takes them and no handler runs.
sigset_t BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return signals;
}

// Waits up to `wait` for a signal. Returns true if one arrived.
bool WaitForSignal(const sigset_t& signals, std::chrono::milliseconds wait) {
  const auto until = std::chrono::steady_clock::now() + wait;
  for (;;) {
    const timespec timeout{wait.count() / 1000, (wait.count() % 1000) * 1'000'000};
    if (sigtimedwait(&signals, nullptr, &timeout) > 0) return true;
    if (errno != EINTR) return false;
    const auto left = until - std::chrono::steady_clock::now();
    wait = std::max(std::chrono::milliseconds(0),
                    std::chrono::duration_cast<std::chrono::milliseconds>(left));
  }
}

int Fail(const Status& status) {
  paligemma::LogError(status.message());
  paligemma::FlushLog();
  return kFailed;
}

int ValidateOnly(const paligemma::ServerConfig& config, const paligemma::DeviceChoice& device) {
  const auto manifest = paligemma::LoadManifest(config.model);
  if (!manifest.ok()) return Fail(manifest.status());
  if (device.device.is_cpu()) {
    const paligemma::Status status = paligemma::CheckCpuIsa(config.host.runner.cpu_isa);
    if (!status.ok()) return Fail(status);
  }
  if (!config.tls_cert.empty()) {
    if (const auto files = paligemma::ReadTlsFiles(config); !files.ok())
      return Fail(files.status());
  }
  if (!config.auth_tokens_file.empty()) {
    const auto tokens = paligemma::AuthTokens::Load(config.auth_tokens_file);
    if (!tokens.ok()) return Fail(tokens.status());
  }
  std::cout << paligemma::ConfigToJson(config);
  return kOk;
}

// Ends the process at once. Destructors would wait for a computation and for probes' connections,
// and would free memory piece by piece.
[[noreturn]] void Leave(int code) {
  paligemma::FlushLog();
  std::_Exit(code);
}

int Serve(const paligemma::ServerConfig& config, const paligemma::DeviceChoice& device,
          const sigset_t& signals, paligemma::Heartbeats* heartbeats) {
  auto serving = paligemma::Serving::Create(config, device, heartbeats);
  if (!serving.ok()) return Fail(serving.status());
  if (const Status bound = (*serving)->Bind(); !bound.ok()) return Fail(bound);
  // Loads on a second thread, so that this thread can wait for a signal.
  auto loading = std::async(std::launch::async, [&serving] { return (*serving)->Load(); });
  const auto is_loading = [&loading] {
    return loading.wait_for(std::chrono::milliseconds(0)) != std::future_status::ready;
  };
  bool told = false;
  while (!told && is_loading()) told = WaitForSignal(signals, std::chrono::milliseconds(50));
  if (is_loading() && !(*serving)->ready()) {
    paligemma::LogInfo("stopped while the model was being loaded");
    (*serving)->Abandon();
    Leave(kOk);
  }
  if (const Status loaded = loading.get(); !loaded.ok()) Leave(Fail(loaded));
  int signal_number = 0;
  if (!told) sigwait(&signals, &signal_number);  // else it came just as the model was ready
  (*serving)->Drain(
      [&signals](std::chrono::milliseconds wait) { return WaitForSignal(signals, wait); });
  Leave(kOk);
}

}  // namespace

int main(int argc, char** argv) {
  paligemma::ConfigureHeap();
  paligemma::net::RaiseDescriptorLimit();
  const sigset_t signals = BlockSignals();
  const auto loaded = paligemma::LoadConfig(std::vector<std::string>(argv + 1, argv + argc),
                                            paligemma::ProcessEnvironment());
  const paligemma::ServerConfig& config = loaded.config;
  if (config.help) {
    std::cout << paligemma::HelpText();
    return kOk;
  }
  if (config.version) {
    std::cout << "paligemma-server " << paligemma::BuildVersion() << " (commit "
              << paligemma::BuildCommit() << "), reads bundle formats 1 to "
              << paligemma::kBundleFormat << "\n";
    return kOk;
  }
  if (!loaded.problems.empty()) {
    for (const std::string& problem : loaded.problems) {
      std::cerr << "paligemma-server: " << problem << "\n";
    }
    return kUsage;
  }
  // Runs before any other code that may initialize torch.
  const auto device = paligemma::PrepareDevice(config.device);
  // Never destroyed: the log's thread lives until the process has ended.
  auto* const heartbeats = new paligemma::Heartbeats;
  paligemma::SetUpLogging(config.log_format, config.log_level, heartbeats);
  paligemma::TakeTorchWarnings(
      [](const std::string& text) { paligemma::LogWarning("torch: " + text); });
  for (const std::string& note : loaded.notes) paligemma::LogInfo(note);
  if (!device.ok()) return Fail(device.status());
  return config.validate_only ? ValidateOnly(config, *device)
                              : Serve(config, *device, signals, heartbeats);
}
