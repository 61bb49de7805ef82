// SPDX-License-Identifier: Apache-2.0
#include "core/model/ops/library.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/jit/frontend/function_schema_parser.h>
#include <torch/library.h>

#include <sstream>

#include "core/model/ops/cpu_kernels.h"
#include "core/model/ops/guard.h"
#include "core/model/ops/kernels.h"
#include "core/model/ops/registration.h"
#include "core/model/ops/schemas.h"

namespace paligemma::ops {
namespace {

thread_local std::exception_ptr kernel_error;

}  // namespace

std::exception_ptr TakeKernelError() { return std::exchange(kernel_error, nullptr); }
void KeepKernelError(std::exception_ptr error) { kernel_error = std::move(error); }

Status CheckSchemas(const std::vector<std::string>& exported) {
  for (const std::string& text : exported) {
    std::ostringstream why;
    try {
      const c10::FunctionSchema wanted = torch::jit::parseSchema("paligemma::" + text);
      const auto own = c10::Dispatcher::singleton().findSchema({wanted.name(), ""});
      if (!own.has_value()) {
        return Status(StatusCode::kFailedPrecondition,
                      "operator " + wanted.name() + " is unknown to this server");
      }
      if (!own->schema().isBackwardCompatibleWith(wanted, &why)) {
        return Status(StatusCode::kFailedPrecondition,
                      "operator " + wanted.name() + " has another schema in this server");
      }
    } catch (const std::exception&) {  // torch's parser
      return Status(StatusCode::kFailedPrecondition,
                    "not an operator schema: " + text.substr(0, 80));
    }
  }
  return OkStatus();
}

}  // namespace paligemma::ops

TORCH_LIBRARY(paligemma, library) {
  for (const char* schema : paligemma::ops::kSchemas) {
    library.def(schema);
  }
}

#define PG_REGISTER(name) library.impl(#name, &Registered<&name>::Call)

TORCH_LIBRARY_IMPL(paligemma, CompositeExplicitAutograd, library) {
  using namespace paligemma::ops;  // NOLINT: the macro's names are the operators'
  PG_REGISTER(embed);
  PG_REGISTER(rope);
  PG_REGISTER(attention);
  PG_REGISTER(mlp);
  PG_REGISTER(finish);
  PG_REGISTER(residual);
  PG_REGISTER(logits);
  PG_REGISTER(sample);
  PG_REGISTER(copy_blocks);
  PG_REGISTER(patch_embed);
  PG_REGISTER(vision_attention);
  PG_REGISTER(vision_mlp);
  PG_REGISTER(project);
}

#define PG_REGISTER_AS(name, kernel) library.impl(#name, &Registered<&kernel>::Call)

// What packed matrices make faster on CPUs; every other operator keeps its reference kernel.
TORCH_LIBRARY_IMPL(paligemma, CPU, library) {
  using namespace paligemma::ops;  // NOLINT: as above
  PG_REGISTER_AS(attention, CpuAttention);
  PG_REGISTER_AS(mlp, CpuMlp);
  PG_REGISTER_AS(vision_attention, CpuVisionAttention);
  PG_REGISTER_AS(vision_mlp, CpuVisionMlp);
  PG_REGISTER_AS(project, CpuProject);
}
