// SPDX-License-Identifier: Apache-2.0
#include "server/access/auth_tokens.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>
#include <utility>

#include "server/life/log.h"

namespace paligemma {
namespace {

constexpr std::chrono::seconds kLookInterval{1};
constexpr std::string_view kHashPrefix = "sha256:";
constexpr std::string_view kMaxCallsPrefix = "max-calls=";
constexpr std::array<std::string_view, 2> kRightNames = {"generate", "models"};
constexpr Duration kFirstCallTime = std::chrono::seconds(1);  // before one was measured

Status BadLine(std::string problem) {
  return Status(StatusCode::kInvalidArgument, std::move(problem));
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

bool IsTenantName(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
}

// Returns the token of "Bearer TOKEN". The scheme's letters may have any case.
std::string_view BearerToken(std::string_view authorization) {
  constexpr std::string_view kScheme = "bearer ";
  if (authorization.size() <= kScheme.size()) return {};
  for (size_t i = 0; i < kScheme.size(); ++i) {
    const char c = authorization[i];
    const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    if (lower != kScheme[i]) return {};
  }
  return authorization.substr(kScheme.size());
}

}  // namespace

struct AuthTokens::Usage {
  Mutex mutex;
  int calls PG_GUARDED_BY(mutex) = 0;
  Duration mean_call PG_GUARDED_BY(mutex) = kFirstCallTime;
};

AuthTokens::Pass::Pass(std::string tenant, std::shared_ptr<Usage> usage, const Clock* clock)
    : tenant_(std::move(tenant)), usage_(std::move(usage)), clock_(clock), began_(clock->Now()) {}

AuthTokens::Pass::~Pass() {
  if (usage_ == nullptr) return;
  MutexLock lock(&usage_->mutex);
  --usage_->calls;
  usage_->mean_call += (clock_->Now() - began_ - usage_->mean_call) / 8;
}

StatusOr<std::unique_ptr<AuthTokens>> AuthTokens::Load(const std::string& path,
                                                       const Clock* clock) {
  std::unique_ptr<AuthTokens> self(new AuthTokens(path, clock));
  MutexLock lock(&self->mutex_);
  self->stamp_ = StampOf(path);  // before reading: a change in between is found later
  PG_ASSIGN_OR_RETURN(self->entries_, Parse(path));
  return self;
}

StatusOr<std::shared_ptr<const AuthTokens::Pass>> AuthTokens::Admit(std::string_view authorization,
                                                                    Right right) {
  const std::string_view token = BearerToken(authorization);
  Hash hash{};
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), hash.data());
  MutexLock lock(&mutex_);
  ReloadIfChanged();
  const Entry* const entry = Find(hash);
  if (entry == nullptr || token.empty()) {
    return Status(StatusCode::kUnauthenticated, Reason::kCredentialsInvalid,
                  authorization.empty() ? "no credentials: send authorization: Bearer TOKEN"
                                        : "the credentials are not known here");
  }
  if (!entry->rights[static_cast<size_t>(right)]) {
    const std::string name(kRightNames[static_cast<size_t>(right)]);
    return Status(StatusCode::kPermissionDenied, Reason::kPermissionDenied,
                  "these credentials do not have the right \"" + name + "\"",
                  {{"permission", name}});
  }
  if (entry->max_calls == 0 || right != Right::kGenerate) {
    return std::make_shared<const Pass>(entry->tenant, nullptr, clock_);
  }
  std::shared_ptr<Usage>& usage = usage_[entry->tenant];
  if (usage == nullptr) usage = std::make_shared<Usage>();
  MutexLock usage_lock(&usage->mutex);
  if (usage->calls >= entry->max_calls) {
    // One of the tenant's calls is likely to end after this time.
    const auto delay =
        std::chrono::duration_cast<std::chrono::milliseconds>(usage->mean_call / entry->max_calls);
    const std::string limit = std::to_string(entry->max_calls);
    return Status(StatusCode::kResourceExhausted, Reason::kQuotaExceeded,
                  entry->tenant + " has " + limit + " calls in flight, as many as it may",
                  {{"tenant", entry->tenant}, {"limit", limit}})
        .WithRetryAfter(std::max(delay, std::chrono::milliseconds(10)));
  }
  ++usage->calls;
  return std::make_shared<const Pass>(entry->tenant, usage, clock_);
}

const AuthTokens::Entry* AuthTokens::Find(const Hash& hash) const {
  const Entry* found = nullptr;
  for (const Entry& entry : entries_) {  // to the end, and each in constant time
    if (CRYPTO_memcmp(entry.hash.data(), hash.data(), hash.size()) == 0) found = &entry;
  }
  return found;
}

void AuthTokens::ReloadIfChanged() {
  const TimePoint now = clock_->Now();
  if (now < next_look_) return;
  next_look_ = now + kLookInterval;
  const Stamp stamp = StampOf(path_);
  if (stamp == stamp_) return;
  stamp_ = stamp;
  StatusOr<std::vector<Entry>> entries = Parse(path_);
  if (!entries.ok()) {
    LogError(entries.status().message() + "; the tokens read before stay in force");
    return;
  }
  entries_ = *std::move(entries);
  LogInfo("--auth-tokens-file: read again, " + std::to_string(entries_.size()) + " tokens");
}

AuthTokens::Stamp AuthTokens::StampOf(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return {};
  return {info.st_ino, info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
}

StatusOr<std::vector<AuthTokens::Entry>> AuthTokens::Parse(const std::string& path) {
  std::ifstream file(path);
  std::vector<Entry> entries;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    line.resize(std::min(line.size(), line.find('#')));
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    StatusOr<Entry> entry = ParseLine(line);
    if (!entry.ok()) {
      return BadLine(path + ": line " + std::to_string(number) + ": " + entry.status().message());
    }
    entries.push_back(*std::move(entry));
  }
  if (!file.eof()) return Status(StatusCode::kNotFound, path + ": cannot be read");
  if (entries.empty()) return BadLine(path + ": holds no token");
  return entries;
}

StatusOr<AuthTokens::Entry> AuthTokens::ParseLine(const std::string& line) {
  std::istringstream words(line);
  std::string hash, word;
  Entry entry;
  words >> hash >> entry.tenant;
  if (!hash.starts_with(kHashPrefix) || hash.size() != kHashPrefix.size() + 64) {
    return BadLine("must begin with sha256: and 64 hex digits");
  }
  for (size_t i = 0; i < entry.hash.size(); ++i) {
    const int high = HexDigit(hash[kHashPrefix.size() + 2 * i]);
    const int low = HexDigit(hash[kHashPrefix.size() + 2 * i + 1]);
    if (high < 0 || low < 0) return BadLine("must begin with sha256: and 64 hex digits");
    entry.hash[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  if (!IsTenantName(entry.tenant)) {
    return BadLine("needs the tenant's name, 1 to 64 of A-Z, a-z, 0-9, \".\", \"_\" and \"-\"");
  }
  bool any_right = false;
  while (words >> word) {
    const auto right = std::find(kRightNames.begin(), kRightNames.end(), word);
    if (right != kRightNames.end()) {
      entry.rights[static_cast<size_t>(right - kRightNames.begin())] = any_right = true;
      continue;
    }
    const char* const end = word.data() + word.size();
    const bool bound = word.starts_with(kMaxCallsPrefix);
    const auto [rest, error] =
        std::from_chars(word.data() + (bound ? kMaxCallsPrefix.size() : 0), end, entry.max_calls);
    if (!bound || error != std::errc() || rest != end || entry.max_calls < 1) {
      return BadLine("takes generate, models and max-calls=N behind the tenant's name");
    }
  }
  if (!any_right) entry.rights = {true, true};
  return entry;
}

}  // namespace paligemma
