// SPDX-License-Identifier: Apache-2.0
#include "server/access/auth_tokens.h"

#include <gmock/gmock.h>
#include <openssl/sha.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "tests/testing/fake_clock.h"

namespace paligemma {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

std::string HashOf(const std::string& token) {
  unsigned char hash[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), hash);
  std::string text = "sha256:";
  for (const unsigned char byte : hash) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

class AuthTokensTest : public ::testing::Test {
 protected:
  AuthTokensTest() {
    folder_ = testing::TempDir() + "auth_tokens_test.XXXXXX";
    PG_CHECK(mkdtemp(folder_.data()) != nullptr) << "no temporary folder";
    path_ = folder_ + "/tokens";
  }
  ~AuthTokensTest() override { std::filesystem::remove_all(folder_); }

  // Replaces the file as Kubernetes does: another file under the same name.
  void Write(const std::string& text) {
    std::ofstream(path_ + ".new") << text;
    std::filesystem::rename(path_ + ".new", path_);
  }
  void Load(const std::string& text) {
    Write(text);
    auto tokens = AuthTokens::Load(path_, &clock_);
    PG_CHECK(tokens.ok()) << tokens.status().ToString();
    tokens_ = *std::move(tokens);
  }
  Reason ReasonFor(const std::string& authorization, Right right = Right::kGenerate) {
    return tokens_->Admit(authorization, right).status().reason();
  }

  FakeClock clock_;
  std::string folder_, path_;
  std::unique_ptr<AuthTokens> tokens_;
};

TEST_F(AuthTokensTest, LetsInWhoeverHoldsAToken) {
  Load("# who may call\n\n" + HashOf("secret-a") + " team-a\n" + HashOf("secret-b") +
       " team-b # b\n");
  const auto pass = tokens_->Admit("Bearer secret-b", Right::kGenerate);
  ASSERT_TRUE(pass.ok()) << pass.status().ToString();
  EXPECT_EQ((*pass)->tenant(), "team-b");
  EXPECT_TRUE(tokens_->Admit("bearer secret-a", Right::kModels).ok());
}

TEST_F(AuthTokensTest, KeepsOutEverybodyElseAndTellsNothing) {
  Load(HashOf("secret-a") + " team-a\n");
  for (const char* wrong : {"", "Bearer", "Bearer ", "Bearer secret-b", "Basic secret-a",
                            "secret-a", "Bearer secret-a ", "Bearer SECRET-A"}) {
    const Status status = tokens_->Admit(wrong, Right::kGenerate).status();
    EXPECT_EQ(status.code(), StatusCode::kUnauthenticated) << wrong;
    EXPECT_EQ(status.reason(), Reason::kCredentialsInvalid) << wrong;
    EXPECT_THAT(status.message(), Not(HasSubstr("secret")));
  }
}

TEST_F(AuthTokensTest, ATokenHasTheRightsThatItsLineNames) {
  Load(HashOf("a") + " viewer models\n" + HashOf("b") + " worker generate\n");
  EXPECT_EQ(ReasonFor("Bearer a", Right::kModels), Reason::kNone);
  const Status status = tokens_->Admit("Bearer a", Right::kGenerate).status();
  EXPECT_EQ(status.code(), StatusCode::kPermissionDenied);
  EXPECT_EQ(status.reason(), Reason::kPermissionDenied);
  EXPECT_THAT(status.metadata(), Contains(Pair("permission", "generate")));
  EXPECT_EQ(ReasonFor("Bearer b", Right::kModels), Reason::kPermissionDenied);
}

TEST_F(AuthTokensTest, ATenantHasAsManyCallsAsItsLineGrants) {
  Load(HashOf("a1") + " a max-calls=2\n" + HashOf("a2") + " a max-calls=2\n" + HashOf("b") +
       " b\n");
  auto first = tokens_->Admit("Bearer a1", Right::kGenerate);
  auto second = tokens_->Admit("Bearer a2", Right::kGenerate);
  ASSERT_TRUE(first.ok() && second.ok());
  const Status status = tokens_->Admit("Bearer a1", Right::kGenerate).status();
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(status.reason(), Reason::kQuotaExceeded);
  EXPECT_THAT(status.metadata(), Contains(Pair("tenant", "a")));
  EXPECT_THAT(status.metadata(), Contains(Pair("limit", "2")));
  EXPECT_GT(status.retry_after().count(), 0);
  EXPECT_EQ(ReasonFor("Bearer b"), Reason::kNone) << "another tenant is not concerned";
  EXPECT_EQ(ReasonFor("Bearer a1", Right::kModels), Reason::kNone) << "nor are other services";
  first = Status(StatusCode::kInternal, "gone");
  EXPECT_EQ(ReasonFor("Bearer a1"), Reason::kNone);
}

TEST_F(AuthTokensTest, ItsRetryDelayFollowsFromHowLongCallsTake) {
  Load(HashOf("a") + " a max-calls=1\n");
  const auto delay = [this] {
    const auto held = tokens_->Admit("Bearer a", Right::kGenerate);
    EXPECT_TRUE(held.ok());
    const auto refused = tokens_->Admit("Bearer a", Right::kGenerate);
    clock_.Advance(std::chrono::seconds(100));
    return refused.status().retry_after();
  };
  const auto before = delay();
  EXPECT_GT(delay(), before);
}

TEST_F(AuthTokensTest, ANewFileCountsWithinASecond) {
  Load(HashOf("old") + " a\n");
  EXPECT_EQ(ReasonFor("Bearer old"), Reason::kNone);
  Write(HashOf("new") + " a\n");
  EXPECT_EQ(ReasonFor("Bearer new"), Reason::kCredentialsInvalid) << "it was just looked at";
  clock_.Advance(std::chrono::seconds(1));
  EXPECT_EQ(ReasonFor("Bearer new"), Reason::kNone);
  EXPECT_EQ(ReasonFor("Bearer old"), Reason::kCredentialsInvalid);
}

TEST_F(AuthTokensTest, ABadNewFileLeavesTheOldInForce) {
  Load(HashOf("old") + " a\n");
  for (const char* bad : {"", "nonsense\n"}) {
    Write(bad);
    clock_.Advance(std::chrono::seconds(1));
    EXPECT_EQ(ReasonFor("Bearer old"), Reason::kNone);
  }
  std::filesystem::remove(path_);
  clock_.Advance(std::chrono::seconds(1));
  EXPECT_EQ(ReasonFor("Bearer old"), Reason::kNone);
}

TEST_F(AuthTokensTest, ABadFileIsNamedWithItsLineAndNothingOutOfIt) {
  const std::string hash = HashOf("secret");
  for (const std::string& bad : std::vector<std::string>{
           "sha256:12 a", "secret a", hash, hash + " a/b", hash + " a writes",
           hash + " a max-calls=0", hash + " a max-calls=many", hash.substr(0, 70) + "X a"}) {
    Write("# first line\n" + bad + "\n");
    const auto tokens = AuthTokens::Load(path_, &clock_);
    ASSERT_FALSE(tokens.ok()) << bad;
    EXPECT_THAT(tokens.status().message(), HasSubstr(path_ + ": line 2: ")) << bad;
    EXPECT_THAT(tokens.status().message(), Not(HasSubstr("secret")));
  }
  Write("\n# nothing\n");
  EXPECT_FALSE(AuthTokens::Load(path_, &clock_).ok());
  EXPECT_FALSE(AuthTokens::Load(folder_ + "/none", &clock_).ok());
}

}  // namespace
}  // namespace paligemma
