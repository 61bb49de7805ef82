// SPDX-License-Identifier: Apache-2.0
// Hashes a bundle's file by chunks, on several threads.
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <thread>

#include "core/bundle/manifest.h"

namespace paligemma {
namespace {

constexpr std::int64_t kChunkBytes = std::int64_t{16} << 20;
constexpr std::size_t kReadBytes = std::size_t{1} << 18;

class File {
 public:
  explicit File(const std::string& path)
      : descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int descriptor() const { return descriptor_; }

 private:
  const int descriptor_;
};

std::string Hex(const unsigned char* bytes, unsigned int size) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (unsigned int i = 0; i < size; ++i) {
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 15];
  }
  return text;
}

// Returns the sha256 of [begin, end) as hex, or an empty string if it cannot be read.
std::string HashRange(int descriptor, std::int64_t begin, std::int64_t end,
                      std::vector<char>* buffer) {
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(),
                                                                   EVP_MD_CTX_free);
  if (context == nullptr || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1) return "";
  while (begin < end) {
    const std::size_t wanted =
        std::min<std::size_t>(buffer->size(), static_cast<std::size_t>(end - begin));
    const ssize_t got = ::pread(descriptor, buffer->data(), wanted, begin);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return "";
    if (EVP_DigestUpdate(context.get(), buffer->data(), static_cast<std::size_t>(got)) != 1) {
      return "";
    }
    begin += got;
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  if (EVP_DigestFinal_ex(context.get(), digest.data(), &size) != 1) return "";
  return Hex(digest.data(), size);
}

}  // namespace

Status VerifyFile(const std::string& path, const FileSpec& spec, int num_threads) {
  const File file(path);
  struct stat info {};
  if (file.descriptor() < 0 || ::fstat(file.descriptor(), &info) != 0) {
    return Status(StatusCode::kNotFound, path + ": cannot be opened");
  }
  if (info.st_size != spec.size) {
    return Status(StatusCode::kInvalidArgument, path + ": has " + std::to_string(info.st_size) +
                                                    " bytes, but the manifest says " +
                                                    std::to_string(spec.size));
  }
  const int num_chunks = static_cast<int>((spec.size + kChunkBytes - 1) / kChunkBytes);
  if (static_cast<int>(spec.chunks.size()) != num_chunks) {
    return Status(StatusCode::kInvalidArgument, path + ": the manifest has no hash for each chunk");
  }
  std::atomic<int> next{0};
  std::atomic<int> first_wrong{num_chunks};
  const auto work = [&] {
    std::vector<char> buffer(kReadBytes);
    for (int chunk = next.fetch_add(1); chunk < first_wrong.load(); chunk = next.fetch_add(1)) {
      const std::int64_t begin = chunk * kChunkBytes;
      const std::int64_t end = std::min(begin + kChunkBytes, spec.size);
      if (HashRange(file.descriptor(), begin, end, &buffer) == spec.chunks[chunk]) continue;
      int seen = first_wrong.load();
      while (chunk < seen && !first_wrong.compare_exchange_weak(seen, chunk)) {
      }
    }
  };
  std::vector<std::thread> threads;
  for (int i = 1; i < std::min(num_threads, num_chunks); ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  if (first_wrong < num_chunks) {
    return Status(StatusCode::kInvalidArgument,
                  path + ": chunk " + std::to_string(first_wrong.load()) +
                      " (of 16 MiB) differs from its sha256 in the manifest");
  }
  return OkStatus();
}

}  // namespace paligemma
