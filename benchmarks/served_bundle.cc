// SPDX-License-Identifier: Apache-2.0
#include "benchmarks/served_bundle.h"

#include <utility>

#include "core/model/torchscript_runner.h"
#include "server/dispatcher_backend.h"
#include "server/life/log.h"
#include "server/model_pipeline.h"

namespace paligemma::bench {
namespace {

ServerConfig ConfigOf(const ServedBundle::Options& options) {
  ServerConfig config;
  config.model = options.directory;
  config.listen = "127.0.0.1:0";
  config.allow_ignore_eos = true;
  config.log_level = "warn";
  config.max_running = options.max_running;
  return config;
}

DispatcherOptions DispatcherOptionsOf(const ServedBundle::Options& options,
                                      const Manifest& manifest) {
  DispatcherOptions dispatcher;
  dispatcher.num_preprocess_threads = 1;
  dispatcher.admission.tokens_per_image = manifest.image.tokens;
  dispatcher.scheduler.max_running = options.max_running;
  return dispatcher;
}

}  // namespace

ServedBundle::ServedBundle(const Options& options, Manifest manifest)
    : config_(ConfigOf(options)),
      model_(std::make_unique<ServedModel>(std::move(manifest), config_)),
      dispatcher_(
          std::make_shared<Dispatcher>(DispatcherOptionsOf(options, model_->manifest()), &steps_)) {
  SetUpLogging(config_.log_format, config_.log_level);
  log_ = std::make_unique<AccessLog>(config_);
  dependencies_ = {&config_, &lifecycle_, model_.get(), log_.get(), nullptr};
}

ServedBundle::~ServedBundle() {
  grpc_.reset();
  model_->SetLoaded({});  // the backend's share of the dispatcher
  dispatcher_.reset();
}

StatusOr<std::unique_ptr<ServedBundle>> ServedBundle::Load(const Options& options) {
  PG_ASSIGN_OR_RETURN(Manifest manifest, LoadManifest(options.directory));
  std::unique_ptr<ServedBundle> served(new ServedBundle(options, std::move(manifest)));
  PG_RETURN_IF_ERROR(served->Start(options));
  return served;
}

Status ServedBundle::Start(const Options& options) {
  const Manifest& manifest = model_->manifest();
  PG_ASSIGN_OR_RETURN(tokenizer_,
                      Tokenizer::Load(options.directory + "/tokenizer.model", manifest.tokens));
  PG_ASSIGN_OR_RETURN(auto images, ImagePreparer::Create(manifest.image, ImageLimits()));
  TorchScriptRunner::Options model;
  model.bundle_dir = options.directory;
  model.manifest = manifest;
  model.num_threads = options.num_threads;
  model.kv_dtype = options.kv_dtype;
  model.max_sequences = options.max_running;
  PG_ASSIGN_OR_RETURN(auto runner, TorchScriptRunner::Load(std::move(model)));
  PG_RETURN_IF_ERROR(runner->WarmUp());
  cpu_isa_ = runner->summary().cpu_isa;
  dispatcher_->Start(
      {std::move(runner),
       MakePreprocessor(manifest, *tokenizer_, std::move(images)),
       {manifest.tokens, [this](TokenId token) { return tokenizer_->TokenBytes(token); }},
       nullptr});
  AnswerWriter::Options writer;
  writer.manifest = &manifest;
  writer.model_name = model_->name();
  writer.token_bytes = [this](TokenId token) { return tokenizer_->TokenBytes(token); };
  model_->SetLoaded({std::make_shared<DispatcherBackend>(dispatcher_),
                     std::make_shared<const AnswerWriter>(std::move(writer)),
                     {"cpu"}});
  PG_ASSIGN_OR_RETURN(grpc_, GrpcServer::Start(dependencies_));
  lifecycle_.Advance(Phase::kReady);
  grpc_->SetHealth(lifecycle_.ready(), lifecycle_.live());
  return OkStatus();
}

}  // namespace paligemma::bench
