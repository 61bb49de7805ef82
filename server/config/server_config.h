// SPDX-License-Identifier: Apache-2.0
// All settings of the server. Flags, environment, config file, help and /configz all come from one
// visitor, ForEachSetting, so that a name exists once. The configuration holds the options of
// core's parts by value, so that a default exists once. Values; nothing changes them after the
// start.
#ifndef SERVER_CONFIG_SERVER_CONFIG_H_
#define SERVER_CONFIG_SERVER_CONFIG_H_

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/duration.h"
#include "core/base/status.h"
#include "core/host/host_options.h"

namespace paligemma {

struct ServerConfig {
  std::string model;
  std::string listen = "0.0.0.0:8001";
  std::string http_listen = "0.0.0.0:8002";
  std::string device = "auto";
  HostOptions host;  // all but its device
  std::int64_t max_response_bytes = (4 << 20) - (64 << 10);
  Millis default_deadline{60'000};
  Millis max_deadline{300'000};
  Millis drain_delay{5'000};
  Millis drain_timeout{30'000};
  Millis stall_timeout{30'000};
  std::int64_t max_connections = 0;
  std::int64_t max_connections_per_peer = 0;
  Millis max_connection_age{0};
  std::string trusted_proxies;
  Millis watchdog_timeout{60'000};
  Millis slow_request_threshold{10'000};
  bool log_content = false;
  std::string tls_cert, tls_key, tls_client_ca;
  std::string auth_tokens_file;
  bool share_image_cache = false;
  std::string log_format = "text";
  std::string log_level = "info";
  bool reflection = true;
  // Other things to do than to serve. These are no settings.
  std::string config_file;
  bool validate_only = false, help = false, version = false;
};

// The texts of one setting. `range` is for people; Validate() has the rule.
struct Setting {
  std::string_view name;   // as the flag has it, "max-image-bytes"
  std::string_view value;  // what stands behind the "=" in the help
  std::string_view help;
};

// Calls visit(Setting, field) for every setting; `config` may be const.
template <typename Config, typename Visitor>
void ForEachSetting(Config& config, Visitor&& visit) {
  using S = Setting;
  visit(S{"model", "DIR", "the model bundle to serve; required"}, config.model);
  visit(S{"model-name", "NAME", "name in the API, models/NAME; empty: the manifest's"},
        config.host.model_name);
  visit(S{"listen", "HOST:PORT", "address of the gRPC API; port 0 picks one and logs it"},
        config.listen);
  visit(S{"http-listen", "HOST:PORT", "address of /metrics, /livez, /readyz and /configz"},
        config.http_listen);
  visit(S{"device", "NAME", "auto, cpu or cuda:N; auto takes a GPU if one can be used"},
        config.device);
  visit(S{"threads", "N", "threads that compute on the CPU; 0: what the cgroup grants"},
        config.host.num_threads);
  visit(S{"cpu-isa", "NAME",
          "CPU kernels: auto, reference, avx2, avx-vnni, avx512 or avx512-bf16; auto: the "
          "machine's best"},
        config.host.runner.cpu_isa);
  visit(S{"kv-cache-mib", "N", "memory for keys and values; 0: derived from what is free"},
        config.host.kv_cache_mib);
  visit(S{"kv-block-size", "N", "token positions in one block of that cache"},
        config.host.runner.kv_block_size);
  visit(S{"kv-cache-dtype", "TYPE",
          "auto, float32, bfloat16 or int8 (a scale for each position and head); auto: as the "
          "model computes"},
        config.host.runner.kv_dtype);
  visit(S{"max-running", "N", "sequences generated at the same time"},
        config.host.dispatcher.scheduler.max_running);
  visit(S{"max-batch-tokens", "N", "tokens of one step; a longer prompt runs alone"},
        config.host.dispatcher.scheduler.max_batch_tokens);
  visit(S{"max-vision-batch", "N", "images that the vision encoder takes at once"},
        config.host.dispatcher.scheduler.max_vision_batch);
  visit(S{"max-batch-delay", "DURATION", "longest wait for more images to batch"},
        config.host.dispatcher.scheduler.max_batch_delay);
  visit(S{"max-queued", "N",
          "requests that wait; more are refused with SERVER_OVERLOADED (PRIORITY_LOW a quarter "
          "earlier, PRIORITY_HIGH a quarter later)"},
        config.host.dispatcher.admission.max_queued);
  visit(S{"max-queued-tokens", "N",
          "prompt tokens that wait, pictures included; 0: max-queued prompts with one picture"},
        config.host.dispatcher.admission.max_queued_tokens);
  visit(S{"max-queued-bytes", "N", "bytes of pictures and text that wait"},
        config.host.dispatcher.admission.max_queued_bytes);
  visit(S{"max-image-bytes", "N", "bytes of one encoded image"},
        config.host.image_limits.max_bytes);
  visit(S{"max-image-pixels", "N", "pixels of one decoded image"},
        config.host.image_limits.max_pixels);
  visit(S{"max-response-bytes", "N", "bytes of one response; the default suits default clients"},
        config.max_response_bytes);
  visit(S{"max-mask-pixels", "N",
          "pixels of all masks of one request; polygons and codes are not counted"},
        config.host.dispatcher.max_mask_pixels);
  visit(S{"default-deadline", "DURATION", "for calls that bring none"}, config.default_deadline);
  visit(S{"max-deadline", "DURATION", "later deadlines are shortened to this"},
        config.max_deadline);
  visit(S{"drain-delay", "DURATION", "after SIGTERM: not ready, but still accepting"},
        config.drain_delay);
  visit(S{"drain-timeout", "DURATION", "then: time for calls to finish"}, config.drain_timeout);
  visit(S{"stall-timeout", "DURATION", "longest wait for a client that does not read its stream"},
        config.stall_timeout);
  visit(S{"max-connections", "N",
          "connections to the gRPC port; more are closed at once; 0: what the limit of file "
          "descriptors affords, at most 4096"},
        config.max_connections);
  visit(S{"max-connections-per-peer", "N",
          "of these from one IPv4 address or one IPv6 /64; 0: half of max-connections"},
        config.max_connections_per_peer);
  visit(
      S{"max-connection-age", "DURATION",
        "then a connection takes no new calls and its client connects anew, so that added servers "
        "get their share; up to a tenth more or less; 0: never"},
      config.max_connection_age);
  visit(
      S{"trusted-proxies", "RANGES",
        "addresses or CIDR ranges, with commas: connections from there have no bound per peer, and "
        "the log takes the client's address from their x-forwarded-for"},
      config.trusted_proxies);
  visit(S{"watchdog-timeout", "DURATION",
          "a thread that makes no progress for longer fails the liveness probe; 0: off"},
        config.watchdog_timeout);
  visit(S{"slow-request-threshold", "DURATION", "slower requests are logged as warnings"},
        config.slow_request_threshold);
  visit(S{"log-content", "", "write prompts and answers to the log"}, config.log_content);
  visit(S{"allow-ignore-eos", "", "accept generation_config.ignore_eos, for benchmarks"},
        config.host.allow_ignore_eos);
  visit(S{"tls-cert", "FILE", "PEM certificate chain; with tls-key turns TLS on"}, config.tls_cert);
  visit(S{"tls-key", "FILE", "PEM private key"}, config.tls_key);
  visit(S{"tls-client-ca", "FILE", "PEM roots; clients must show a certificate of theirs"},
        config.tls_client_ca);
  visit(S{"auth-tokens-file", "FILE",
          "calls must bring a bearer token whose hash stands in this file; read again on change"},
        config.auth_tokens_file);
  visit(S{"share-image-cache", "",
          "a picture that one tenant sent is cached for all: they learn that somebody sent it"},
        config.share_image_cache);
  visit(S{"log-format", "text|json", "one line per event"}, config.log_format);
  visit(S{"log-level", "LEVEL", "debug, info, warn or error"}, config.log_level);
  visit(S{"reflection", "", "answer the gRPC reflection service"}, config.reflection);
}

// Returns a line for each wrong value; empty if all are right.
std::vector<std::string> Validate(const ServerConfig& config);

// Returns the values in force as a JSON object, which has the form of a config file.
std::string ConfigToJson(const ServerConfig& config);

}  // namespace paligemma

#endif  // SERVER_CONFIG_SERVER_CONFIG_H_
