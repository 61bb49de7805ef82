// SPDX-License-Identifier: Apache-2.0
// What every instruction set provides: one table of kernels each. Kernels run on the thread that
// calls them, on their part of the work alone; product.h and attention.h share the parts out.
// Internal to core/cpu.
//
// The files that implement the tables are compiled for their instruction set, so they include no
// header with inline functions of its own: the linker could let the whole program use their copy.
#ifndef CORE_CPU_KERNELS_H_
#define CORE_CPU_KERNELS_H_

#include <cstdint>

#include "core/cpu/isa.h"

namespace paligemma::cpu {

// Rows of activations times one panel of a matrix.
struct PanelJob {
  const std::uint32_t* weights = nullptr;     // [steps][WordsPerStep]
  const std::int32_t* weight_sums = nullptr;  // int8: [kPanel]
  const float* weight_scale = nullptr;        // int8, fp8: [kPanel]
  const std::uint32_t* rows = nullptr;        // [num_rows][row_stride] words; product.h
  std::int64_t row_stride = 0;
  const float* row_scale = nullptr;  // int8, int4: [num_rows]
  int num_rows = 0;
  int num_steps = 0;
  float* y = nullptr;  // [num_rows][y_stride], the first kPanel of each row; overwritten
  std::int64_t y_stride = 0;
};

// One query row's heads of one key-value head against the keys and values of its sequence, which
// lie in pages of block_size positions.
struct CachedJob {
  const float* queries = nullptr;  // [group][head_dim]
  int group = 0;
  int head_dim = 0;
  float scale = 1;
  float softcap = 0;                    // 0: none
  const void* keys = nullptr;           // of this head in block 0: [block_size][head_dim]
  const void* values = nullptr;         // the same
  const float* key_scales = nullptr;    // int8: of this head in block 0: [block_size]; else null
  const float* value_scales = nullptr;  // the same
  std::int64_t block_stride = 0;        // from block to block, in rows of head_dim values
  const std::int32_t* block_table = nullptr;  // of the sequence
  int block_size = 0;
  int first = 0, last = 0;  // the positions [first, last) are seen; at least one
  float* scores = nullptr;  // scratch, [last - first]
  float* out = nullptr;     // [group][head_dim], overwritten
};

// The sum of one output runs over the steps in ascending order in one accumulator, whatever the
// number of rows: that is what makes a row's result independent of its batch.
struct Kernels {
  // float32 times float32, fused multiply-adds.
  void (*float32_panel)(const PanelJob& job);
  // bfloat16 times bfloat16, sums in float32.
  void (*bfloat16_panel)(const PanelJob& job);
  // Activations are bytes x + 128, for the multipliers that take unsigned times signed bytes; the
  // 128 times `weight_sums` that this adds is taken off again. Sums are exact; the result is
  // float(sum) * row_scale * weight_scale.
  void (*int8_panel)(const PanelJob& job);
  // Signed bytes times int4: the exact sum of a group of inputs, as float times the group's scale,
  // is added by one fused multiply-add; the result is that sum * row_scale.
  void (*int4_panel)(const PanelJob& job);
  // bfloat16 times fp8, which is decoded to bfloat16 on the way; the result is sum * weight_scale.
  void (*fp8_panel)(const PanelJob& job);

  // Rounds to nearest even. Writes count values, then zeros up to `padded`.
  void (*to_bfloat16)(const float* x, int count, int padded, std::uint16_t* out);
  // Writes a row for bfloat16_panel and fp8_panel: `words` words of two bfloat16 values each, zeros
  // from count on, then whatever else the instruction set needs, bfloat16_row_words for each of
  // these words in all.
  int bfloat16_row_words;
  void (*bfloat16_row)(const float* x, int count, int words, std::uint32_t* row);
  // Returns the scale, max |x| / 127 (at least 1e-30, so never zero): x = (byte - 128) * scale.
  // Writes a row for int8_panel: `words` words of four bytes each, 128 from count on, then whatever
  // else the instruction set needs, int8_row_words for each of these words in all. NaN and
  // infinities give a scale that hands them on.
  int int8_row_words;
  float (*quantize)(const float* x, int count, int words, std::uint32_t* row);
  // Writes signed bytes: x = byte * scale.
  float (*quantize_signed)(const float* x, int count, std::int8_t* out);
  // The same, and -8 times the sum of each group of kInt4Group bytes: what the 8 in int4's
  // values + 8 adds too much.
  float (*quantize_in_groups)(const float* x, int count, std::int8_t* out,
                              std::int32_t* corrections);

  // out = x / sqrt(mean(x^2) + eps) * (1 + weight); `out` may be x.
  void (*rms_norm)(const float* x, const float* weight, int count, float eps, float* out);
  // h += the same of y.
  void (*add_rms_norm)(const float* y, const float* weight, int count, float eps, float* h);
  // out = (x - mean) / sqrt(variance + eps) * weight + bias
  void (*layer_norm)(const float* x, const float* weight, const float* bias, int count, float eps,
                     float* out);
  void (*add)(const float* x, int count, float* sum);
  // Of gelu's tanh form. out = gelu(x + bias); out = gelu(gate) * up.
  void (*gelu_of_sum)(const float* x, const float* bias, int count, float* out);
  void (*gelu_times)(const float* gate, const float* up, int count, float* out);
  // Rotates x [2 * half] by split halves.
  void (*rotate)(const float* cosine, const float* sine, int half, float* x);
  void (*round_to_bfloat16)(int count, float* x);
  // x = cap * tanh(x / cap)
  void (*softcap)(int count, float cap, float* x);
  // The largest value, NaN if one is. count > 0.
  float (*largest)(const float* x, int count);
  // The sum of exp(x - shift), from values of at most `shift`.
  float (*sum_of_exp)(const float* x, int count, float shift);
  // In place: softmax of scale * scores, soft-capped if softcap > 0; zeros from count to `padded`.
  void (*softmax)(int count, int padded, float scale, float softcap, float* scores);

  void (*attend_float32_pages)(const CachedJob& job);
  void (*attend_bfloat16_pages)(const CachedJob& job);
  void (*attend_int8_pages)(const CachedJob& job);
};

// REQUIRES: CanRun(isa), and isa is not kReference.
const Kernels& KernelsFor(Isa isa);

// Each architecture links its own.
extern const Kernels kAvx2Kernels;
extern const Kernels kAvxVnniKernels;
extern const Kernels kAvx512Kernels;
extern const Kernels kAvx512Bf16Kernels;
extern const Kernels kNeonKernels;
extern const Kernels kNeonDotKernels;
extern const Kernels kNeonI8mmKernels;

}  // namespace paligemma::cpu

#endif  // CORE_CPU_KERNELS_H_
