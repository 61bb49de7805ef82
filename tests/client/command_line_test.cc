// SPDX-License-Identifier: Apache-2.0
#include "client/command_line.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <sstream>

#include "client/run.h"

namespace paligemma::client {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

// The environment variable is set while the object lives.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (value != nullptr) setenv(name, value, 1);
  }
  ~Variable() { unsetenv(name_); }

 private:
  const char* const name_;
};

struct Parsed {
  CommandLine line;
  std::string out, err;
};

Parsed Parse(const std::vector<std::string>& words) {
  std::ostringstream out, err;
  CommandLine line = ParseCommandLine(words, &out, &err);
  return {std::move(line), out.str(), err.str()};
}

// Every option that the environment can set too.
struct Source {
  const char* variable;
  const char* flag;
  std::string ClientOptions::*field;
  const char* default_value;
};

constexpr Source kSources[] = {
    {"PALIGEMMA_SERVER", "--server", &ClientOptions::server, "localhost:8001"},
    {"PALIGEMMA_TOKEN", "--token", &ClientOptions::token, ""},
};

const std::vector<std::vector<std::string>> kCommands = {{"caption", "x.png"},
                                                         {"answer", "x.png", "why?"},
                                                         {"detect", "x.png", "cat"},
                                                         {"segment", "x.png", "cat"},
                                                         {"read", "x.png"},
                                                         {"generate", "x.png", "caption en"},
                                                         {"models"},
                                                         {"health"},
                                                         {"bench", "x.png"}};

class SourceTest : public ::testing::TestWithParam<Source> {};

TEST_P(SourceTest, AFlagWinsOverTheEnvironmentAndThatOverTheDefault) {
  const Source& source = GetParam();
  const std::string flag = std::string(source.flag) + "=from-flag";
  for (const std::vector<std::string>& command : kCommands) {
    SCOPED_TRACE(command.front());
    std::vector<std::string> before = command, behind = command;
    before.insert(before.begin(), flag);
    behind.push_back(flag);
    for (const char* set : {static_cast<const char*>(nullptr), "from-environment"}) {
      const Variable variable(source.variable, set);
      const char* const expected = set == nullptr ? source.default_value : set;
      const auto value = [&source](const std::vector<std::string>& words) {
        const Parsed parsed = Parse(words);
        EXPECT_EQ(parsed.line.exit_code, std::nullopt) << parsed.err;
        return parsed.line.arguments.client.*source.field;
      };
      EXPECT_EQ(value(command), expected);
      EXPECT_EQ(value(before), "from-flag");
      EXPECT_EQ(value(behind), "from-flag");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, SourceTest, ::testing::ValuesIn(kSources),
                         [](const auto& info) { return std::string(info.param.variable); });

TEST(CommandLine, OptionsOfAllCommandsMayStandBeforeTheCommand) {
  const Parsed parsed = Parse({"--json", "--timeout=3s", "health", "--wait=30s"});
  EXPECT_EQ(parsed.line.exit_code, std::nullopt) << parsed.err;
  EXPECT_EQ(parsed.line.arguments.command, "health");
  EXPECT_TRUE(parsed.line.arguments.json);
  EXPECT_EQ(parsed.line.arguments.client.timeout, std::chrono::seconds(3));
  EXPECT_EQ(parsed.line.arguments.wait, std::chrono::seconds(30));
}

TEST(CommandLine, ATextMayBeTheNameOfACommand) {
  const Parsed parsed = Parse({"detect", "x.png", "health", "--label", "read"});
  EXPECT_EQ(parsed.line.exit_code, std::nullopt) << parsed.err;
  EXPECT_EQ(parsed.line.arguments.command, "detect");
  EXPECT_THAT(parsed.line.arguments.positional, ::testing::ElementsAre("x.png", "health"));
  EXPECT_THAT(parsed.line.arguments.labels, ::testing::ElementsAre("read"));
}

TEST(CommandLine, TyposGetASuggestion) {
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"captoin", "x.png"}, "there is no command captoin; did you mean caption?"},
      {{"detect", "x.png", "--labl=cat"},
       "there is no option --labl of detect; did you mean --label?"},
      {{"health", "--sever", "x:1"},
       "there is no option --sever of health; did you mean --server?"},
      {{"--tiemout=3s", "health"}, "there is no option --tiemout"},
      {{"health", "--frobnicate"}, "there is no option --frobnicate of health; see --help"},
      {{}, "a command is missing"}};
  for (const auto& [words, message] : cases) {
    const Parsed parsed = Parse(words);
    EXPECT_EQ(parsed.line.exit_code, kWrongUsage);
    EXPECT_THAT(parsed.err, HasSubstr(message));
    EXPECT_THAT(parsed.out, IsEmpty());
  }
}

TEST(CommandLine, EveryHelpPageSaysWhatForThenUsageGroupsAndExamples) {
  for (const std::vector<std::string>& command : kCommands) {
    const Parsed parsed = Parse({command.front(), "--help"});
    EXPECT_EQ(parsed.line.exit_code, kAnswered);
    std::size_t at = 0;
    for (const std::string& part :
         {"paligemma " + command.front() + ": ", "Usage: paligemma " + command.front(),
          std::string("Connection:\n"), std::string("--server"), std::string("Examples:\n"),
          "  paligemma " + command.front()}) {
      const std::size_t found = parsed.out.find(part, at);
      ASSERT_NE(found, std::string::npos) << part << " is missing or too early:\n" << parsed.out;
      at = found;
    }
  }
}

TEST(CommandLine, TheReportOfALoadTestNeverHoldsTheToken) {
  const std::vector<std::vector<std::string>> kWays = {
      {"--token", "secret", "bench", "x.png", "--runs=2"},
      {"--token=secret", "bench", "x.png", "--runs=2"},
      {"bench", "x.png", "--token", "secret", "--runs=2"},
      {"bench", "x.png", "--runs=2", "--token=secret"}};
  for (const auto& words : kWays) EXPECT_EQ(Parse(words).line.bench.flags, "x.png --runs=2");
}

}  // namespace
}  // namespace paligemma::client
