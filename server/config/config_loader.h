// SPDX-License-Identifier: Apache-2.0
// Reads settings. Flags win over the environment (PALIGEMMA_<FLAG>), the environment over the
// config file (--config=FILE, JSON with comments), and the file over the defaults.
#ifndef SERVER_CONFIG_CONFIG_LOADER_H_
#define SERVER_CONFIG_CONFIG_LOADER_H_

#include <string>
#include <utility>
#include <vector>

#include "server/config/server_config.h"

namespace paligemma {

struct LoadedConfig {
  ServerConfig config;
  std::vector<std::string> problems;  // all of them; empty: the config can be used
  std::vector<std::string> notes;     // to be logged: PALIGEMMA_* variables that mean nothing here
};

// `arguments` is without the program's name. `environment` holds names and values of all variables;
// those without the prefix are ignored.
LoadedConfig LoadConfig(const std::vector<std::string>& arguments,
                        const std::vector<std::pair<std::string, std::string>>& environment);

// Returns the variables of this process.
std::vector<std::pair<std::string, std::string>> ProcessEnvironment();

// Returns the text of --help.
std::string HelpText();

}  // namespace paligemma

#endif  // SERVER_CONFIG_CONFIG_LOADER_H_
