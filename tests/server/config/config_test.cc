// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "server/config/config_loader.h"

namespace paligemma {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::string WriteConfig(const std::string& text) {
  const std::string path = ::testing::TempDir() + "/config.json";
  std::ofstream(path) << text;
  return path;
}

TEST(ConfigTest, FlagsWinOverEnvironmentOverFile) {
  const std::string path = WriteConfig(
      "{\n// comment\n\"model\": \"from-file\", \"max-queued\": 7, \"threads\": 1, "
      "\"drain-delay\": \"250ms\"}");
  const LoadedConfig loaded =
      LoadConfig({"--config=" + path, "--threads=3"},
                 {{"PALIGEMMA_MAX_QUEUED", "9"}, {"PALIGEMMA_THREADS", "2"}});
  EXPECT_THAT(loaded.problems, IsEmpty());
  EXPECT_EQ(loaded.config.model, "from-file");
  EXPECT_EQ(loaded.config.host.dispatcher.admission.max_queued, 9);
  EXPECT_EQ(loaded.config.host.num_threads, 3);
  EXPECT_EQ(loaded.config.drain_delay, Millis(250));
}

TEST(ConfigTest, AllProblemsAreListedAtOnce) {
  const LoadedConfig loaded = LoadConfig(
      {"--no-such-flag", "--max-queued=many", "--listen=nowhere", "--tls-cert=a.pem", "stray"}, {});
  EXPECT_THAT(loaded.problems, Contains(HasSubstr("--no-such-flag")));
  EXPECT_THAT(loaded.problems, Contains(HasSubstr("--max-queued")));
  EXPECT_THAT(loaded.problems, Contains(HasSubstr("--listen")));
  EXPECT_THAT(loaded.problems, Contains(HasSubstr("--tls-key")));
  EXPECT_THAT(loaded.problems, Contains(HasSubstr("stray")));
  EXPECT_THAT(loaded.problems, Contains(HasSubstr("--model is missing")));
}

TEST(ConfigTest, UnknownKeysOfTheFileAreProblemsAndUnknownVariablesAreNotes) {
  const std::string path = WriteConfig("{\"model\": \"m\", \"modle\": 1}");
  const LoadedConfig loaded =
      LoadConfig({"--config=" + path}, {{"PALIGEMMA_PORT", "tcp://10.0.0.1:80"}, {"PATH", "x"}});
  EXPECT_THAT(loaded.problems, SizeIs(1));
  EXPECT_THAT(loaded.problems, Contains(HasSubstr("modle")));
  EXPECT_THAT(loaded.notes, SizeIs(1));
  EXPECT_THAT(loaded.notes, Contains(HasSubstr("PALIGEMMA_PORT")));
}

TEST(ConfigTest, SwitchesAndSeparateValues) {
  const LoadedConfig loaded =
      LoadConfig({"--model", "m", "--log-content", "--reflection=false", "--allow-ignore-eos"}, {});
  EXPECT_THAT(loaded.problems, IsEmpty());
  EXPECT_TRUE(loaded.config.log_content);
  EXPECT_FALSE(loaded.config.reflection);
  EXPECT_TRUE(loaded.config.host.allow_ignore_eos);
}

TEST(ConfigTest, WhatConfigzShowsIsAConfigFile) {
  ServerConfig config;
  config.model = "m";
  const std::string path = WriteConfig(ConfigToJson(config));
  const LoadedConfig loaded = LoadConfig({"--config=" + path}, {});
  EXPECT_THAT(loaded.problems, IsEmpty());
  EXPECT_EQ(ConfigToJson(loaded.config), ConfigToJson(config));
}

TEST(ConfigTest, HelpNamesEverySetting) {
  const std::string help = HelpText();
  const auto json = nlohmann::json::parse(ConfigToJson(ServerConfig()));
  for (const auto& [key, value] : json.items()) EXPECT_THAT(help, HasSubstr("--" + key));
}

}  // namespace
}  // namespace paligemma
