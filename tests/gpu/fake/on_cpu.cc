// SPDX-License-Identifier: Apache-2.0
// Part of the plugin for the fake device alone: operators that have no kernel of ours yet run on
// the CPU, over the same memory, after a wait for the stream. Each is counted by its name; the
// counts are the list of what is left to write.
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <map>
#include <optional>

extern "C" void pg_fake_cuda_ran_on_cpu(const char* name);

namespace {

// The same memory as a tensor of the CPU.
at::Tensor OnHost(const at::Tensor& tensor) {
  if (!tensor.defined() || !tensor.is_cuda()) return tensor;
  return at::from_blob(const_cast<void*>(tensor.const_data_ptr()), tensor.sizes(), tensor.strides(),
                       tensor.options().device(at::kCPU));
}

using ByAddress = std::map<const void*, at::Tensor>;

c10::IValue ToHost(const c10::IValue& value, ByAddress* arguments) {
  if (value.isTensor()) {
    const at::Tensor& tensor = value.toTensor();
    if (tensor.defined() && tensor.numel() > 0) (*arguments)[tensor.const_data_ptr()] = tensor;
    return OnHost(tensor);
  }
  if (value.isTensorList()) {
    c10::List<at::Tensor> list;
    for (const at::Tensor& tensor : value.toTensorVector()) list.push_back(OnHost(tensor));
    return list;
  }
  if (value.isOptionalTensorList()) {
    c10::List<std::optional<at::Tensor>> list;
    for (const auto& tensor : value.toOptionalTensorVector()) {
      list.push_back(tensor.has_value() ? std::optional<at::Tensor>(OnHost(*tensor))
                                        : std::nullopt);
    }
    return list;
  }
  return value.isDevice() ? c10::IValue(at::Device(at::kCPU)) : value;
}

// A result on the device. A result that is an argument, changed in place, stays what it was.
at::Tensor ToDevice(const at::Tensor& result, const ByAddress& arguments) {
  if (!result.defined()) return result;
  if (result.numel() > 0) {
    const auto own = arguments.find(result.const_data_ptr());
    if (own != arguments.end()) return own->second;
  }
  at::Tensor copy = at::empty(result.sizes(), result.options().device(at::Device(at::kCUDA, 0)));
  copy.copy_(result.contiguous());
  return copy;
}

void OnCpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  pg_fake_cuda_ran_on_cpu(op.schema().name().c_str());
  c10::cuda::getCurrentCUDAStream().synchronize();
  ByAddress arguments;
  for (std::size_t i = stack->size() - op.schema().arguments().size(); i < stack->size(); ++i) {
    (*stack)[i] = ToHost((*stack)[i], &arguments);
  }
  op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
  for (std::size_t i = stack->size() - op.schema().returns().size(); i < stack->size(); ++i) {
    if ((*stack)[i].isTensor()) (*stack)[i] = ToDevice((*stack)[i].toTensor(), arguments);
  }
}

}  // namespace

TORCH_LIBRARY_IMPL(paligemma, CUDA, library) {
  for (const char* name :
       {"embed", "attention", "mlp", "finish", "residual", "logits", "sample", "copy_blocks",
        "patch_embed", "vision_attention", "vision_mlp", "project"}) {
    library.impl(name, torch::CppFunction::makeFromBoxedFunction<&OnCpu>());
  }
}

TORCH_LIBRARY_IMPL(aten, CUDA, library) {
  for (const char* name : {"add.Tensor", "index_select", "zero_", "fill_.Scalar"}) {
    library.impl(name, torch::CppFunction::makeFromBoxedFunction<&OnCpu>());
  }
}
