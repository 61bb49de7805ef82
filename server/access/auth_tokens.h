// SPDX-License-Identifier: Apache-2.0
// Who may call: bearer tokens out of --auth-tokens-file, known by their hash alone.
//
// One token a line; blank lines and what follows a "#" are skipped:
//
//   sha256:<64 hex digits> TENANT [RIGHT ...] [max-calls=N]
//
// The digits are `printf %s "$TOKEN" | sha256sum`. TENANT (1 to 64 of [A-Za-z0-9._-]) names whom
// the log and the quota mean; several tokens may share one, so that tokens can be replaced. RIGHT
// is "generate" (PaliGemmaService) or "models" (ModelService); none named: both. max-calls bounds
// the calls of PaliGemmaService that the tenant has at the same time. The file is looked at again
// at most once a second, when a call comes; a new one that cannot be used leaves the old in force.
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
  // The error is one line with the file and the line's number, and nothing out of it.
  static StatusOr<std::unique_ptr<AuthTokens>> Load(const std::string& path,
                                                    const Clock* clock = Clock::Real());

  // A call that was let in; its destructor gives the tenant's place back.
  class Pass;

  // `authorization`: the metadata's value. UNAUTHENTICATED, PERMISSION_DENIED, QUOTA_EXCEEDED.
  // Takes the same time for every wrong token.
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
  // What identifies a version of the file; Kubernetes exchanges a link, and with it the inode.
  struct Stamp {
    ino_t inode = 0;
    std::int64_t size = 0, seconds = 0, nanos = 0;
    bool operator==(const Stamp&) const = default;
  };
  // Of one tenant, whatever its tokens; shared with the passes.
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
