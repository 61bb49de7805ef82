// SPDX-License-Identifier: Apache-2.0
#include "core/host/load_model.h"

#include <memory>
#include <string>
#include <utility>

#include "core/host/bundle_preprocessor.h"
#include "core/model/torchscript_mask_decoder.h"
#include "core/model/torchscript_runner.h"
#include "core/text/tokenizer.h"
#include "core/vision/image_preparer.h"

namespace paligemma {
namespace {

StatusOr<std::shared_ptr<const Tokenizer>> LoadTokenizer(const ModelHost& host) {
  const Manifest& manifest = host.manifest();
  const std::string path = host.directory() + "/tokenizer.model";
  PG_RETURN_IF_ERROR(
      VerifyFile(path, manifest.files.at("tokenizer.model"), host.options().num_threads));
  PG_ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer, Tokenizer::Load(path, manifest.tokens));
  return std::shared_ptr<const Tokenizer>(std::move(tokenizer));
}

}  // namespace

Status LoadModel(ModelHost* host) {
  const Manifest& manifest = host->manifest();
  const HostOptions& options = host->options();
  PG_ASSIGN_OR_RETURN(const std::shared_ptr<const Tokenizer> tokenizer, LoadTokenizer(*host));
  PG_ASSIGN_OR_RETURN(auto images, ImagePreparer::Create(manifest.image, options.image_limits));
  PG_ASSIGN_OR_RETURN(auto runner,
                      TorchScriptRunner::Load({options.runner, host->directory(), manifest}));
  Dispatcher::Parts parts;
  if (manifest.files.contains("mask_decoder.pt")) {
    PG_ASSIGN_OR_RETURN(parts.mask_decoder, TorchScriptMaskDecoder::Load(
                                                host->directory(), manifest, options.num_threads));
  }
  PG_RETURN_IF_ERROR(runner->WarmUp());
  const ModelSummary summary = runner->summary();
  parts.runner = std::move(runner);
  parts.preprocessor = std::make_unique<BundlePreprocessor>(manifest, tokenizer, std::move(images));
  parts.vocabulary.tokens = manifest.tokens;
  parts.vocabulary.bytes = [tokenizer](TokenId token) { return tokenizer->TokenBytes(token); };
  host->Start(std::move(parts), summary);
  return OkStatus();
}

}  // namespace paligemma
