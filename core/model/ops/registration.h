// SPDX-License-Identifier: Apache-2.0
// From the positions of a schema to the struct of its operator: the only place that counts them.
// Kernels of every backend are registered as `library.impl("mlp", &Registered<&MyMlp>::Call)`; the
// kernel's argument says which operator it is.
#ifndef CORE_MODEL_OPS_REGISTRATION_H_
#define CORE_MODEL_OPS_REGISTRATION_H_

#include <cstdint>
#include <exception>

#include "core/model/ops/arguments.h"
#include "core/model/ops/guard.h"

namespace paligemma::ops {

// Calls Kernel(arguments), keeping what it throws (guard.h).
template <auto Kernel, typename Args>
auto Guarded(const Args& args) {
  try {
    return Kernel(args);
  } catch (...) {
    KeepKernelError(std::current_exception());
    throw;
  }
}

template <auto Kernel>
struct Registered;

template <typename Result, Result (*Kernel)(const EmbedArgs&)>
struct Registered<Kernel> {
  static Result Call(const Tensor& ids, const Tensor& image_rows, const Tensor& table,
                     const Tensor& table_scale, const Tensor& table_aux, double scale,
                     std::int64_t vocab) {
    return Guarded<Kernel>(
        EmbedArgs{ids, image_rows, {table, table_scale, table_aux}, scale, vocab});
  }
};

template <typename Result, Result (*Kernel)(const RopeArgs&)>
struct Registered<Kernel> {
  static Result Call(const Tensor& positions, std::int64_t head_dim, double theta) {
    return Guarded<Kernel>(RopeArgs{positions, head_dim, theta});
  }
};

template <typename Result, Result (*Kernel)(const AttentionArgs&)>
struct Registered<Kernel> {
  static Result Call(const Tensor& h, const Tensor& y, const Tensor& y_norm, const Tensor& norm,
                     const Tensor& qkv, const Tensor& qkv_scale, const Tensor& qkv_aux,
                     const Tensor& out, const Tensor& out_scale, const Tensor& out_aux,
                     const Tensor& rope, Tensor kv, Tensor kv_scale, const Tensor& slots,
                     const Tensor& prefill_start, at::IntArrayRef prefill_lengths,
                     const Tensor& block_table, const Tensor& context, const Tensor& rows,
                     const TensorList& adapters, const Tensor& adapter_index, std::int64_t layer,
                     std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim, double eps,
                     double scale, double softcap, std::int64_t window) {
    return Guarded<Kernel>(AttentionArgs{{h, y, y_norm},
                                         norm,
                                         {qkv, qkv_scale, qkv_aux},
                                         {out, out_scale, out_aux},
                                         rope,
                                         kv,
                                         kv_scale,
                                         slots,
                                         prefill_start,
                                         prefill_lengths,
                                         block_table,
                                         context,
                                         rows,
                                         {adapters, adapter_index},
                                         layer,
                                         heads,
                                         kv_heads,
                                         head_dim,
                                         eps,
                                         scale,
                                         softcap,
                                         window});
  }
};

template <typename Result, Result (*Kernel)(const MlpArgs&)>
struct Registered<Kernel> {
  static Result Call(const Tensor& h, const Tensor& y, const Tensor& y_norm, const Tensor& norm,
                     const Tensor& gate_up, const Tensor& gate_up_scale, const Tensor& gate_up_aux,
                     const Tensor& down, const Tensor& down_scale, const Tensor& down_aux,
                     const TensorList& adapters, const Tensor& adapter_index, std::int64_t layer,
                     std::int64_t intermediate, double eps) {
    return Guarded<Kernel>(MlpArgs{{h, y, y_norm},
                                   norm,
                                   {gate_up, gate_up_scale, gate_up_aux},
                                   {down, down_scale, down_aux},
                                   {adapters, adapter_index},
                                   layer,
                                   intermediate,
                                   eps});
  }
};

template <typename Result, Result (*Kernel)(const FinishArgs&)>
struct Registered<Kernel> {
  static Result Call(const Tensor& h, const Tensor& y, const Tensor& y_norm, const Tensor& norm,
                     double eps) {
    return Guarded<Kernel>(FinishArgs{{h, y, y_norm}, norm, eps});
  }
};

template <typename Result, Result (*Kernel)(const ResidualArgs&)>
struct Registered<Kernel> {
  static Result Call(const Tensor& h, const Tensor& y, const Tensor& y_norm, double eps) {
    return Guarded<Kernel>(ResidualArgs{{h, y, y_norm}, eps});
  }
};

template <typename Result, Result (*Kernel)(const LogitsArgs&)>
struct Registered<Kernel> {
  static Result Call(const Tensor& hidden, const Tensor& table, const Tensor& table_scale,
                     const Tensor& table_aux, std::int64_t vocab, double softcap) {
    return Guarded<Kernel>(LogitsArgs{hidden, {table, table_scale, table_aux}, vocab, softcap});
  }
};

template <typename Result, Result (*Kernel)(const SampleArgs&)>
struct Registered<Kernel> {
  static Result Call(const Tensor& hidden, const Tensor& table, const Tensor& table_scale,
                     const Tensor& table_aux, std::int64_t vocab, double softcap,
                     const Tensor& params, const Tensor& controls, const Tensor& masks, Tensor seen,
                     std::int64_t flags, std::int64_t top) {
    return Guarded<Kernel>(SampleArgs{{hidden, {table, table_scale, table_aux}, vocab, softcap},
                                      params,
                                      controls,
                                      masks,
                                      seen,
                                      flags,
                                      top});
  }
};

template <void (*Kernel)(const CopyBlocksArgs&)>
struct Registered<Kernel> {
  static void Call(Tensor kv, Tensor kv_scale, const Tensor& source, const Tensor& target) {
    Guarded<Kernel>(CopyBlocksArgs{kv, kv_scale, source, target});
  }
};

template <typename Result, Result (*Kernel)(const PatchArgs&)>
struct Registered<Kernel> {
  static Result Call(const Tensor& pixels, const Tensor& lut, const Tensor& w,
                     const Tensor& w_scale, const Tensor& w_aux, const Tensor& bias,
                     const Tensor& position, std::int64_t patch) {
    return Guarded<Kernel>(PatchArgs{pixels, lut, {w, w_scale, w_aux}, bias, position, patch});
  }
};

template <typename Result, Result (*Kernel)(const VisionAttentionArgs&)>
struct Registered<Kernel> {
  static Result Call(const Tensor& h, const Tensor& norm, const Tensor& norm_bias,
                     const Tensor& qkv, const Tensor& qkv_scale, const Tensor& qkv_aux,
                     const Tensor& qkv_bias, const Tensor& out, const Tensor& out_scale,
                     const Tensor& out_aux, const Tensor& out_bias, std::int64_t tokens,
                     std::int64_t heads, std::int64_t head_dim, double eps) {
    return Guarded<Kernel>(VisionAttentionArgs{h,
                                               {norm, norm_bias, eps},
                                               {qkv, qkv_scale, qkv_aux},
                                               qkv_bias,
                                               {out, out_scale, out_aux},
                                               out_bias,
                                               tokens,
                                               heads,
                                               head_dim});
  }
};

template <typename Result, Result (*Kernel)(const VisionMlpArgs&)>
struct Registered<Kernel> {
  static Result Call(const Tensor& h, const Tensor& norm, const Tensor& norm_bias,
                     const Tensor& fc1, const Tensor& fc1_scale, const Tensor& fc1_aux,
                     const Tensor& fc1_bias, const Tensor& fc2, const Tensor& fc2_scale,
                     const Tensor& fc2_aux, const Tensor& fc2_bias, std::int64_t intermediate,
                     double eps) {
    return Guarded<Kernel>(VisionMlpArgs{h,
                                         {norm, norm_bias, eps},
                                         {fc1, fc1_scale, fc1_aux},
                                         fc1_bias,
                                         {fc2, fc2_scale, fc2_aux},
                                         fc2_bias,
                                         intermediate});
  }
};

template <typename Result, Result (*Kernel)(const ProjectArgs&)>
struct Registered<Kernel> {
  static Result Call(const Tensor& h, const Tensor& norm, const Tensor& norm_bias, const Tensor& w,
                     const Tensor& w_scale, const Tensor& w_aux, const Tensor& bias,
                     std::int64_t hidden, double eps) {
    return Guarded<Kernel>(
        ProjectArgs{h, {norm, norm_bias, eps}, {w, w_scale, w_aux}, bias, hidden});
  }
};

}  // namespace paligemma::ops

#endif  // CORE_MODEL_OPS_REGISTRATION_H_
