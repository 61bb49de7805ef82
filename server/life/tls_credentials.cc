// SPDX-License-Identifier: Apache-2.0
#include "server/life/tls_credentials.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include <string>
#include <utility>

#include "server/life/log.h"
#include "server/life/tls_files.h"

namespace paligemma {
namespace {

// Reads the files for gRPC and checks them first. gRPC's own file watcher takes whatever it finds,
// and then refuses connections until the files are right again. gRPC holds one of its locks while
// it calls the fetcher.
class TlsCredentials : public grpc::ServerCredentials {
 public:
  explicit TlsCredentials(const ServerConfig& config)
      : config_(config),
        credentials_(grpc_ssl_server_credentials_create_with_options(
            grpc_ssl_server_credentials_create_options_using_config_fetcher(
                config.tls_client_ca.empty()
                    ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                    : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY,
                Fetch, this))) {}
  ~TlsCredentials() override { grpc_server_credentials_release(credentials_); }

  void SetAuthMetadataProcessor(
      const std::shared_ptr<grpc::AuthMetadataProcessor>& /*processor*/) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  static grpc_ssl_certificate_config_reload_status Fetch(
      void* self, grpc_ssl_server_certificate_config** config) {
    return static_cast<TlsCredentials*>(self)->Fetch(config);
  }

  grpc_ssl_certificate_config_reload_status Fetch(grpc_ssl_server_certificate_config** config) {
    StatusOr<TlsFiles> files = ReadTlsFiles(config_);
    if (!files.ok()) {
      if (files.status().message() != problem_) {
        problem_ = files.status().message();
        LogWarning(problem_ + "; the certificates that were read before stay in use");
      }
      return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    }
    problem_.clear();
    if (*files == in_use_) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    if (!in_use_.cert_chain.empty()) LogInfo("new certificates are in use: " + config_.tls_cert);
    in_use_ = *std::move(files);
    const grpc_ssl_pem_key_cert_pair pair{in_use_.private_key.c_str(), in_use_.cert_chain.c_str()};
    // gRPC needs roots here even if clients show no certificate. Any roots will do then.
    const std::string& roots =
        in_use_.client_roots.empty() ? in_use_.cert_chain : in_use_.client_roots;
    *config = grpc_ssl_server_certificate_config_create(roots.c_str(), &pair, 1);
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }

  const ServerConfig& config_;
  TlsFiles in_use_;
  std::string problem_;
  grpc_server_credentials* const credentials_;
};

}  // namespace

StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeTlsCredentials(const ServerConfig& config) {
  PG_RETURN_IF_ERROR(ReadTlsFiles(config).status());
  return std::shared_ptr<grpc::ServerCredentials>(std::make_shared<TlsCredentials>(config));
}

}  // namespace paligemma
