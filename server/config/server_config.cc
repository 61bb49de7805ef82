// SPDX-License-Identifier: Apache-2.0
#include "server/config/server_config.h"

#include <charconv>
#include <nlohmann/json.hpp>
#include <regex>
#include <type_traits>

#include "server/net/ip_address.h"

namespace paligemma {
namespace {

std::string FlagName(std::string_view name) { return std::string("--").append(name); }

void CheckRange(std::string_view name, std::int64_t value, std::int64_t low, std::int64_t high,
                std::vector<std::string>* problems) {
  if (value >= low && value <= high) return;
  problems->push_back(FlagName(name) + " is " + std::to_string(value) + "; it must be " +
                      std::to_string(low) + " to " + std::to_string(high));
}

void CheckChoice(std::string_view name, const std::string& value,
                 std::initializer_list<std::string_view> choices,
                 std::vector<std::string>* problems) {
  std::string all;
  for (const std::string_view choice : choices) {
    if (choice == value) return;
    all.append(all.empty() ? "" : ", ").append(choice);
  }
  problems->push_back(FlagName(name) + " is \"" + value + "\"; choose from " + all);
}

void CheckAddress(std::string_view name, const std::string& value,
                  std::vector<std::string>* problems) {
  const size_t colon = value.rfind(':');
  int port = -1;
  if (colon != std::string::npos && colon > 0) {
    const char* end = value.data() + value.size();
    const auto [rest, error] = std::from_chars(value.data() + colon + 1, end, port);
    if (error != std::errc() || rest != end) port = -1;
  }
  if (port >= 0 && port <= 65535) return;
  problems->push_back(FlagName(name) + " is \"" + value + "\"; it must be HOST:PORT");
}

void CheckNumbers(const ServerConfig& c, std::vector<std::string>* problems) {
  constexpr std::int64_t kMany = 1 << 20;
  CheckRange("threads", c.host.num_threads, 0, 1024, problems);
  CheckRange("kv-cache-mib", c.host.kv_cache_mib, 0, 16 * kMany, problems);
  CheckRange("kv-block-size", c.host.runner.kv_block_size, 1, 1024, problems);
  const DispatcherOptions& dispatcher = c.host.dispatcher;
  const SchedulerOptions& scheduler = dispatcher.scheduler;
  CheckRange("max-running", scheduler.max_running, 1, 4096, problems);
  CheckRange("max-batch-tokens", scheduler.max_batch_tokens, 1, kMany, problems);
  CheckRange("max-vision-batch", scheduler.max_vision_batch, 1, 256, problems);
  CheckRange("max-queued", dispatcher.admission.max_queued, 1, kMany, problems);
  CheckRange("max-queued-tokens", dispatcher.admission.max_queued_tokens, 0, 1024 * kMany,
             problems);
  CheckRange("max-queued-bytes", dispatcher.admission.max_queued_bytes, kMany, 1024 * kMany,
             problems);
  CheckRange("max-image-bytes", c.host.image_limits.max_bytes, 1024, 256 * kMany, problems);
  CheckRange("max-image-pixels", c.host.image_limits.max_pixels, 1024, 1024 * kMany, problems);
  CheckRange("max-connections", c.max_connections, 0, kMany, problems);
  CheckRange("max-connections-per-peer", c.max_connections_per_peer, 0, kMany, problems);
  CheckRange("max-response-bytes", c.max_response_bytes, 65536, 1024 * kMany, problems);
  CheckRange("max-mask-pixels", dispatcher.max_mask_pixels, 1, 1'000'000 * kMany, problems);
}

void CheckDurations(const ServerConfig& c, std::vector<std::string>* problems) {
  if (c.default_deadline.count() <= 0) problems->push_back("--default-deadline must be above 0");
  if (c.max_deadline < c.default_deadline) {
    problems->push_back("--max-deadline is " + FormatDuration(c.max_deadline) +
                        ", below --default-deadline, " + FormatDuration(c.default_deadline));
  }
  if (c.stall_timeout.count() <= 0) problems->push_back("--stall-timeout must be above 0");
  if (c.max_connection_age.count() < 0) {
    problems->push_back("--max-connection-age must not be below 0");
  }
}

}  // namespace

std::vector<std::string> Validate(const ServerConfig& c) {
  std::vector<std::string> problems;
  if (c.model.empty()) problems.push_back("--model is missing: the directory of a model bundle");
  static const std::regex kName("[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?");
  if (!c.host.model_name.empty() && !std::regex_match(c.host.model_name, kName)) {
    problems.push_back("--model-name is \"" + c.host.model_name +
                       "\"; it takes a-z, 0-9, - and ., 63 characters at most");
  }
  CheckAddress("listen", c.listen, &problems);
  CheckAddress("http-listen", c.http_listen, &problems);
  if (c.listen == c.http_listen && !c.listen.ends_with(":0")) {
    problems.push_back("--listen and --http-listen are the same address");
  }
  static const std::regex kDevice("auto|cpu|cuda:[0-9]{1,3}");
  if (!std::regex_match(c.device, kDevice)) {
    problems.push_back("--device is \"" + c.device + "\"; choose auto, cpu or cuda:N");
  }
  CheckNumbers(c, &problems);
  CheckDurations(c, &problems);
  CheckChoice("kv-cache-dtype", c.host.runner.kv_dtype, {"auto", "float32", "bfloat16", "int8"},
              &problems);
  CheckChoice("cpu-isa", c.host.runner.cpu_isa,
              {"auto", "reference", "avx2", "avx-vnni", "avx512", "avx512-bf16"}, &problems);
  CheckChoice("log-format", c.log_format, {"text", "json"}, &problems);
  CheckChoice("log-level", c.log_level, {"debug", "info", "warn", "error"}, &problems);
  if (!net::ParseRanges(c.trusted_proxies).has_value()) {
    problems.push_back("--trusted-proxies is \"" + c.trusted_proxies +
                       "\"; it takes addresses and CIDR ranges with commas, 10.0.0.0/8,fd00::/8");
  }
  if (c.tls_cert.empty() != c.tls_key.empty()) {
    problems.push_back("--tls-cert and --tls-key go together");
  }
  if (!c.tls_client_ca.empty() && c.tls_cert.empty()) {
    problems.push_back("--tls-client-ca needs --tls-cert and --tls-key");
  }
  return problems;
}

std::string ConfigToJson(const ServerConfig& config) {
  nlohmann::ordered_json json;
  ForEachSetting(config, [&json](const Setting& setting, const auto& field) {
    if constexpr (std::is_same_v<std::decay_t<decltype(field)>, Millis>) {
      json[std::string(setting.name)] = FormatDuration(field);
    } else {
      json[std::string(setting.name)] = field;
    }
  });
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace paligemma
