// SPDX-License-Identifier: Apache-2.0
#include "server/life/tls_files.h"

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <ctime>
#include <fstream>
#include <memory>
#include <sstream>

namespace paligemma {
namespace {

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
template <typename T>
using Owned = std::unique_ptr<T, Free>;

Status Bad(const std::string& path, const std::string& problem) {
  return Status(StatusCode::kInvalidArgument, path + ": " + problem);
}

StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) return Status(StatusCode::kNotFound, path + ": cannot be read");
  return text.str();
}

Owned<BIO> Reader(const std::string& pem) {
  return Owned<BIO>(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

// Returns the first certificate.
Owned<X509> Certificate(const std::string& pem) {
  return Owned<X509>(PEM_read_bio_X509(Reader(pem).get(), nullptr, nullptr, nullptr));
}

// Refuses a password, for which OpenSSL would ask on the terminal.
int NoPassword(char*, int, int, void*) { return 0; }

Owned<EVP_PKEY> PrivateKey(const std::string& pem) {
  return Owned<EVP_PKEY>(PEM_read_bio_PrivateKey(Reader(pem).get(), nullptr, NoPassword, nullptr));
}

std::int64_t ExpiryOf(const X509& certificate) {
  std::tm time{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(&certificate), &time) != 1) return 0;
  return timegm(&time);
}

}  // namespace

StatusOr<TlsFiles> ReadTlsFiles(const ServerConfig& config) {
  TlsFiles files;
  PG_ASSIGN_OR_RETURN(files.cert_chain, ReadFile(config.tls_cert));
  PG_ASSIGN_OR_RETURN(files.private_key, ReadFile(config.tls_key));
  const Owned<X509> certificate = Certificate(files.cert_chain);
  if (certificate == nullptr) return Bad(config.tls_cert, "holds no PEM certificate");
  const Owned<EVP_PKEY> key = PrivateKey(files.private_key);
  if (key == nullptr) return Bad(config.tls_key, "holds no PEM private key without a password");
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    return Bad(config.tls_key, "is not the key of the certificate in " + config.tls_cert);
  }
  files.expiry = ExpiryOf(*certificate);
  if (files.expiry <= std::time(nullptr)) return Bad(config.tls_cert, "has expired");
  if (config.tls_client_ca.empty()) return files;
  PG_ASSIGN_OR_RETURN(files.client_roots, ReadFile(config.tls_client_ca));
  if (Certificate(files.client_roots) == nullptr) {
    return Bad(config.tls_client_ca, "holds no PEM certificate");
  }
  return files;
}

}  // namespace paligemma
