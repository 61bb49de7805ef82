// SPDX-License-Identifier: Apache-2.0
// The sha256 of bytes in hex, for comparing with golden hashes.
#ifndef TESTS_CORE_BASE_SHA256_H_
#define TESTS_CORE_BASE_SHA256_H_

#include <openssl/evp.h>

#include <array>
#include <cstdio>
#include <string>

namespace paligemma {

inline std::string Sha256(const void* data, std::size_t size) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int digest_size = 0;
  EVP_Digest(data, size, digest.data(), &digest_size, EVP_sha256(), nullptr);
  std::string hex;
  for (unsigned int i = 0; i < digest_size; ++i) {
    char text[3];
    std::snprintf(text, sizeof(text), "%02x", digest[i]);
    hex += text;
  }
  return hex;
}

template <typename Container>
std::string Sha256(const Container& bytes) {
  return Sha256(bytes.data(), bytes.size() * sizeof(bytes[0]));
}

}  // namespace paligemma

#endif  // TESTS_CORE_BASE_SHA256_H_
