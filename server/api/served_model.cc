// SPDX-License-Identifier: Apache-2.0
#include "server/api/served_model.h"

namespace paligemma {

ServedModel::Loaded LoadedOf(const std::shared_ptr<ModelHost>& host, std::string device) {
  AnswerWriter::Options writer;
  writer.manifest = &host->manifest();
  writer.model_name = host->name();
  writer.token_bytes = [host = host.get()](TokenId token) { return host->TokenBytes(token); };
  return {host, std::make_shared<const AnswerWriter>(std::move(writer)), {std::move(device)}};
}

}  // namespace paligemma
