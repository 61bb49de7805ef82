// SPDX-License-Identifier: Apache-2.0
#include "server/config/config_loader.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <concepts>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <type_traits>

#include "core/base/nearest_name.h"

namespace paligemma {
namespace {

constexpr std::string_view kPrefix = "PALIGEMMA_";

std::string EnvironmentName(std::string_view flag) {
  std::string name(kPrefix);
  for (const char c : flag) {
    name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return name;
}

// Each Assign() returns what is wrong with the text, or an empty string.
std::string Assign(std::string_view text, std::string* field) {
  *field = text;
  return "";
}

std::string Assign(std::string_view text, bool* field) {
  if (text == "true" || text == "1" || text.empty()) {
    *field = true;
  } else if (text == "false" || text == "0") {
    *field = false;
  } else {
    return "\"" + std::string(text) + "\" is neither true nor false";
  }
  return "";
}

template <typename Integer>
requires std::same_as<Integer, int> || std::same_as<Integer, std::int64_t> std::string Assign(
    std::string_view text, Integer* field) {
  const char* end = text.data() + text.size();
  Integer value = 0;
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error == std::errc::result_out_of_range) return "\"" + std::string(text) + "\" is too large";
  if (error != std::errc() || rest != end) return "\"" + std::string(text) + "\" is no integer";
  *field = value;
  return "";
}

std::string Assign(std::string_view text, Millis* field) {
  const StatusOr<Millis> duration = ParseDuration(text);
  if (!duration.ok()) return duration.status().message();
  *field = *duration;
  return "";
}

// Sets the named setting. Returns nullopt if no setting has this name.
std::optional<std::string> Set(std::string_view name, std::string_view text, ServerConfig* config) {
  std::optional<std::string> result;
  ForEachSetting(*config, [&](const Setting& setting, auto& field) {
    if (setting.name == name) result = Assign(text, &field);
  });
  return result;
}

// Returns true if a flag of this name may stand without a value. An unknown flag may, since it is
// reported as unknown.
bool MayStandAlone(std::string_view name) {
  bool alone = name != "config";
  ServerConfig config;
  ForEachSetting(config, [&](const Setting& setting, auto& field) {
    if (setting.name == name) alone = std::is_same_v<std::decay_t<decltype(field)>, bool>;
  });
  return alone;
}

struct Flag {
  std::string name, value;
  bool has_value = false;
};

// Splits "--name=value", "--name value" and "--switch".
std::vector<Flag> SplitFlags(const std::vector<std::string>& arguments,
                             std::vector<std::string>* problems) {
  std::vector<Flag> flags;
  for (size_t i = 0; i < arguments.size(); ++i) {
    std::string text = arguments[i];
    if (text == "-h") text = "--help";
    if (!text.starts_with("--") || text.size() == 2) {
      problems->push_back("unexpected argument \"" + text + "\"; settings are --NAME=VALUE");
      continue;
    }
    Flag flag;
    const size_t equal = text.find('=');
    flag.name = text.substr(2, equal == std::string::npos ? equal : equal - 2);
    const bool alone = MayStandAlone(flag.name);
    if (equal != std::string::npos) {
      flag.value = text.substr(equal + 1);
      flag.has_value = true;
    } else if (!alone && i + 1 < arguments.size() && !arguments[i + 1].starts_with("--")) {
      flag.value = arguments[++i];
      flag.has_value = true;
    }
    if (!flag.has_value && !alone) {
      problems->push_back("--" + flag.name + " needs a value: --" + flag.name + "=VALUE");
      continue;
    }
    flags.push_back(std::move(flag));
  }
  return flags;
}

void ApplyFile(const std::string& path, LoadedConfig* loaded) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) {
    loaded->problems.push_back("--config: cannot read " + path);
    return;
  }
  nlohmann::json json;
  try {
    json = nlohmann::json::parse(text.str(), nullptr, true, /*ignore_comments=*/true);
  } catch (const nlohmann::json::exception& error) {
    loaded->problems.push_back(path + ": " + error.what());
    return;
  }
  if (!json.is_object()) {
    loaded->problems.push_back(path + ": must hold one JSON object");
    return;
  }
  for (const auto& [key, value] : json.items()) {
    const std::string literal = value.is_string() ? value.get<std::string>() : value.dump();
    const auto problem = Set(key, literal, &loaded->config);
    if (!problem.has_value()) {
      loaded->problems.push_back(path + ": there is no setting \"" + key + "\"");
    } else if (!problem->empty()) {
      loaded->problems.push_back(path + ": " + key + ": " + *problem);
    }
  }
}

void ApplyEnvironment(const std::vector<std::pair<std::string, std::string>>& environment,
                      LoadedConfig* loaded) {
  for (const auto& [name, value] : environment) {
    if (!name.starts_with(kPrefix)) continue;
    std::optional<std::string> problem;
    ForEachSetting(loaded->config,
                   [&, &name = name, &value = value](const Setting& setting, auto& field) {
                     if (EnvironmentName(setting.name) == name) problem = Assign(value, &field);
                   });
    if (!problem.has_value()) {
      if (name != "PALIGEMMA_CONFIG")
        loaded->notes.push_back(name + " means nothing here: ignored");
    } else if (!problem->empty()) {
      loaded->problems.push_back(name + ": " + *problem);
    }
  }
}

// "; did you mean --listen?", or nothing.
std::string Suggestion(const std::string& name) {
  std::vector<std::string> names = {"config", "help", "version", "validate-only"};
  const ServerConfig config;
  ForEachSetting(config, [&](const Setting& setting, auto&) { names.emplace_back(setting.name); });
  const std::string nearest = NearestName(name, names);
  return nearest.empty() ? "" : "; did you mean --" + nearest + "?";
}

void ApplyFlag(const Flag& flag, LoadedConfig* loaded) {
  ServerConfig& config = loaded->config;
  if (flag.name == "config") return;  // read first
  if (flag.name == "help") {
    config.help = true;
  } else if (flag.name == "version") {
    config.version = true;
  } else if (flag.name == "validate-only") {
    config.validate_only = true;
  } else {
    const auto problem = Set(flag.name, flag.has_value ? flag.value : "true", &config);
    if (!problem.has_value()) {
      loaded->problems.push_back("there is no --" + flag.name + Suggestion(flag.name) +
                                 "; see --help");
    } else if (!problem->empty()) {
      loaded->problems.push_back("--" + flag.name + ": " + *problem);
    }
  }
}

}  // namespace

LoadedConfig LoadConfig(const std::vector<std::string>& arguments,
                        const std::vector<std::pair<std::string, std::string>>& environment) {
  LoadedConfig loaded;
  const std::vector<Flag> flags = SplitFlags(arguments, &loaded.problems);
  for (const auto& [name, value] : environment) {
    if (name == "PALIGEMMA_CONFIG") loaded.config.config_file = value;
  }
  for (const Flag& flag : flags) {
    if (flag.name == "config") loaded.config.config_file = flag.value;
  }
  if (!loaded.config.config_file.empty()) ApplyFile(loaded.config.config_file, &loaded);
  ApplyEnvironment(environment, &loaded);
  for (const Flag& flag : flags) ApplyFlag(flag, &loaded);
  if (!loaded.config.help && !loaded.config.version) {
    for (std::string& problem : Validate(loaded.config)) {
      loaded.problems.push_back(std::move(problem));
    }
  }
  return loaded;
}

std::vector<std::pair<std::string, std::string>> ProcessEnvironment() {
  std::vector<std::pair<std::string, std::string>> variables;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const size_t equal = text.find('=');
    if (equal == std::string_view::npos) continue;
    variables.emplace_back(text.substr(0, equal), text.substr(equal + 1));
  }
  return variables;
}

std::string HelpText() {
  std::ostringstream help;
  help << "Serves PaliGemma 2 over gRPC.\n\n"
          "  paligemma-server --model=DIR [--NAME=VALUE ...]\n\n"
          "Each setting is also an environment variable (--max-queued is PALIGEMMA_MAX_QUEUED) and "
          "a\n"
          "key of the file that --config names (JSON, comments allowed). Flags win over the\n"
          "environment, and that over the file. Durations are 500ms, 2s, 5m or 1h.\n\n";
  ServerConfig defaults;
  const auto line = [&help](const std::string& left, std::string_view text) {
    constexpr size_t kColumn = 36;
    help << "  " << left
         << (left.size() + 2 < kColumn ? std::string(kColumn - 2 - left.size(), ' ')
                                       : "\n" + std::string(kColumn, ' '))
         << text;
  };
  ForEachSetting(defaults, [&](const Setting& setting, auto& field) {
    std::string left = "--" + std::string(setting.name);
    if (!setting.value.empty()) left += "=" + std::string(setting.value);
    line(left, setting.help);
    using Field = std::decay_t<decltype(field)>;
    if constexpr (std::is_same_v<Field, Millis>) {
      help << " (" << FormatDuration(field) << ")";
    } else if constexpr (std::is_same_v<Field, bool>) {
      help << " (" << (field ? "true" : "false") << ")";
    } else if constexpr (std::is_same_v<Field, std::string>) {
      if (!field.empty()) help << " (" << field << ")";
    } else {
      help << " (" << field << ")";
    }
    help << "\n";
  });
  for (const auto& [left, text] :
       {std::pair("--config=FILE", "settings to start from"),
        std::pair("--validate-only", "check settings and bundle, print them, and exit"),
        std::pair("--version", "print the version and exit"),
        std::pair("--help", "print this and exit")}) {
    line(left, text);
    help << "\n";
  }
  help << "\nExit codes: 0 drained, at most 1 s after the drain time-out; 1 could not start or "
          "failed; 2 wrong usage.\n"
          "Example: paligemma-server --model=models/demo --listen=127.0.0.1:8001 --threads=4\n";
  return help.str();
}

}  // namespace paligemma
