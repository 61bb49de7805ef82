// SPDX-License-Identifier: Apache-2.0
// Decides who may call. --auth-tokens-file lists the hashes of bearer tokens.
//
// Each line of the file holds one token. Blank lines and text after a "#" are skipped:
//
//   sha256:<64 hex digits> TENANT [RIGHT ...] [max-calls=N]
//
// `printf %s "$TOKEN" | sha256sum` prints the digits. The log and the quota name a client by its
// TENANT (1 to 64 of [A-Za-z0-9._-]). Several tokens may share a tenant, so that a token can be
// replaced. RIGHT is "generate" (PaliGemmaService) or "models" (ModelService); without a RIGHT the
// token has both. max-calls bounds the tenant's concurrent calls of PaliGemmaService. A call
// reads the file again if it has changed, at most once a second. An unusable file changes nothing.
#ifndef SERVER_ACCESS_AUTH_TOKENS_H_
#define SERVER_ACCESS_AUTH_TOKENS_H_

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "core/base/status.h"

namespace paligemma {

enum class Right { kGenerate, kModels };

// Thread safe.
class AuthTokens {
 public:
  // Errors are one line with the name of the file and the number of its line, without its text.
  static StatusOr<std::unique_ptr<AuthTokens>> Load(const std::string& path,
                                                    const Clock* clock = Clock::Real());

  // A call that was admitted. The destructor frees its place in the tenant's quota.
  class Pass;

  // Admits a call by the value of its metadata `authorization`. Errors are UNAUTHENTICATED,
  // PERMISSION_DENIED and QUOTA_EXCEEDED. Takes the same time for every wrong token.
  StatusOr<std::shared_ptr<const Pass>> Admit(std::string_view authorization, Right right)
      PG_LOCKS_EXCLUDED(mutex_);

 private:
  using Hash = std::array<std::uint8_t, 32>;
  struct Entry {
    Hash hash{};
    std::string tenant;
    std::array<bool, 2> rights{};
    int max_calls = 0;  // 0: any number
  };
  // Identifies a version of the file. Kubernetes replaces a link, which changes the inode.
  struct Stamp {
    ino_t inode = 0;
    std::int64_t size = 0, seconds = 0, nanos = 0;
    bool operator==(const Stamp&) const = default;
  };
  // Counts the calls of one tenant over all its tokens. Shared with the passes.
  struct Usage;

  AuthTokens(std::string path, const Clock* clock) : path_(std::move(path)), clock_(clock) {}
  static StatusOr<std::vector<Entry>> Parse(const std::string& path);
  static StatusOr<Entry> ParseLine(const std::string& line);
  static Stamp StampOf(const std::string& path);
  void ReloadIfChanged() PG_REQUIRES(mutex_);
  const Entry* Find(const Hash& hash) const PG_REQUIRES(mutex_);

  const std::string path_;
  const Clock* const clock_;
  Mutex mutex_;
  std::vector<Entry> entries_ PG_GUARDED_BY(mutex_);
  Stamp stamp_ PG_GUARDED_BY(mutex_);
  TimePoint next_look_ PG_GUARDED_BY(mutex_){};
  std::map<std::string, std::shared_ptr<Usage>> usage_ PG_GUARDED_BY(mutex_);
};

class AuthTokens::Pass {
 public:
  Pass(std::string tenant, std::shared_ptr<Usage> usage, const Clock* clock);
  ~Pass();
  Pass(const Pass&) = delete;
  Pass& operator=(const Pass&) = delete;

  const std::string& tenant() const { return tenant_; }

 private:
  const std::string tenant_;
  const std::shared_ptr<Usage> usage_;  // null: not counted
  const Clock* const clock_;
  const TimePoint began_;
};

}  // namespace paligemma

#endif  // SERVER_ACCESS_AUTH_TOKENS_H_
