// SPDX-License-Identifier: Apache-2.0
// The launchers of the GPU kernels, in plain CUDA types: no LibTorch. Every launch is asynchronous
// on `stream`; the caller owns all memory, which is the device's. A row's result depends on that
// row alone, bit for bit: neither on the number of rows, nor on the others, nor on the order in
// which blocks run.
//
// Types: `float*` is f32; `void*` is of the struct's `Type`. Rows of void* start at multiples of 16
// bytes. A launcher returns cudaErrorInvalidValue for a shape that its REQUIRES excludes.
#ifndef CORE_GPU_KERNELS_H_
#define CORE_GPU_KERNELS_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace paligemma::gpu {

enum class Type { kFloat32, kBfloat16, kInt8 };

constexpr int SizeOf(Type type) {
  return type == Type::kFloat32 ? 4 : type == Type::kBfloat16 ? 2 : 1;
}

// Rows as a product takes them. Int8 rows have a scale each: max|x| / 127, rounded half to even.
struct ProductRows {
  Type type = Type::kFloat32;
  void* values = nullptr;
  float* scale = nullptr;  // int8: [rows]
};

// embed.cu. h[i] = the row ids[i] of the table times `scale`, rounded as the reference does; for
// ids[i] < 0 the row -(ids[i] + 1) of `image_rows`, bit for bit.
struct EmbedArguments {
  const int* ids;            // [rows]
  const float* image_rows;   // [num_image_rows, width]
  const void* table;         // of `type`: canonical for float32, else packed (packing.h)
  const float* table_scale;  // int8: [vocab]
  Type type;
  float* h;  // [rows, width]
  int rows, width, vocab, num_image_rows;
  double scale;
};
cudaError_t Embed(const EmbedArguments& arguments, cudaStream_t stream);

// rope.cu. Cosines, then sines, of position / theta^(2i/head_dim).
// REQUIRES: head_dim even.
struct RopeArguments {
  const int* positions;  // [rows]
  float* out;            // [rows, head_dim]
  int rows, head_dim;
  double theta;
};
cudaError_t Rope(const RopeArguments& arguments, cudaStream_t stream);

// Keys and values of one layer, a block of positions after the other.
struct Pages {
  Type type = Type::kFloat32;
  void *keys = nullptr, *values = nullptr;               // [blocks, kv_heads, block_size, head_dim]
  float *key_scales = nullptr, *value_scales = nullptr;  // int8: [blocks, kv_heads, block_size]
  int block_size = 0, kv_heads = 0, head_dim = 0;
};

// rope.cu. Rotates queries and keys in place and writes keys and values to their pages. With
// bfloat16 pages, keys and values are rounded in place too: a prompt sees what later rows will
// read. REQUIRES: head_dim % 8 == 0.
struct RotateArguments {
  float* qkv;         // [rows, (heads + 2 kv_heads) head_dim]
  const float* rope;  // [rows, head_dim]
  const int* slots;   // [rows]: the position that the row's keys go to, -1: nowhere
  Pages pages;
  int rows, heads;
};
cudaError_t RotateAndWrite(const RotateArguments& arguments, cudaStream_t stream);

// norm.cu. h_out = h + rmsnorm(y) (1 + y_norm), x = rmsnorm(h_out) (1 + norm).
// REQUIRES: width % 4 == 0, width <= 5120.
struct NormArguments {
  const float* h;       // [rows, width]
  const float* y;       // [rows, width], or null: nothing to add
  const float* y_norm;  // [width]
  const float* norm;    // [width], or null: no x
  float* h_out;         // [rows, width], or null: not wanted
  ProductRows x;        // [rows, width]
  int rows, width;
  float eps;
};
cudaError_t AddNorm(const NormArguments& arguments, cudaStream_t stream);

// gate.cu. x = gelu_tanh(gate) up.
// REQUIRES: width % 4 == 0.
struct GateArguments {
  const float* gate_up;  // [rows, 2 width]: gate, then up
  ProductRows x;         // [rows, width]
  int rows, width;
};
cudaError_t Gate(const GateArguments& arguments, cudaStream_t stream);

// gate.cu. x = values, as a product takes them.
// REQUIRES: width % 4 == 0.
struct ConvertArguments {
  const float* values;  // [rows, width]
  ProductRows x;
  int rows, width;
};
cudaError_t Convert(const ConvertArguments& arguments, cudaStream_t stream);

// skinny.cu. y = x w' for few rows: reads the weights once for each 64 rows. Sums of int8 are exact
// and scaled by x's scale, then by the output's; sums of bf16 are f32 in one fixed order. A matrix
// in float32 is canonical and is multiplied by scalar code: it is there to verify, not to serve.
// REQUIRES: inputs * SizeOf(type) % 16 == 0, `arrived` all zero; it is zero again afterwards.
struct ProductArguments {
  ProductRows x;         // [rows, inputs], of the matrix's type
  const void* w;         // packed (packing.h); float32: [outputs, inputs]
  const float* w_scale;  // int8: [outputs]
  float* y;              // [rows, outputs]
  void* partial;         // SkinnyWorkspace().partial_bytes
  unsigned* arrived;     // SkinnyWorkspace().counters
  int rows, outputs, inputs;
  int splits;  // parts of the inputs, the same for every product with the matrix: SkinnySplits()
};
cudaError_t SkinnyProduct(const ProductArguments& arguments, cudaStream_t stream);

struct ProductWorkspace {
  std::size_t partial_bytes = 0, counters = 0;
};
ProductWorkspace SkinnyWorkspace(Type type, int rows, int outputs, int splits);
// Into how many parts the inputs are best split: as many as fill the largest chip. Depends on the
// matrix alone, since the parts are the order of the sums.
int SkinnySplits(Type type, int outputs, int inputs);

// gemm.cu. The same product for many rows, without a workspace: `partial`, `arrived` and `splits`
// are not used. The bits are not those of SkinnyProduct: which of the two a row takes depends on
// what the row is (of a prompt, or cached), never on how many there are. REQUIRES: inputs *
// SizeOf(type) % 16 == 0.
cudaError_t Gemm(const ProductArguments& arguments, cudaStream_t stream);
// skinny.cu. What both do for float32.
cudaError_t FloatProduct(const ProductArguments& arguments, cudaStream_t stream);

// prompt_attention.cu. Every row of a prompt attends to all rows of that prompt: out =
// softmax(cap tanh(q k' scale / cap)) v; softcap 0: none. All bf16.
// REQUIRES: heads % kv_heads == 0, dim % 8 == 0, dim <= 256, stride % 8 == 0.
struct PromptAttentionArguments {
  const void* q;  // [tokens, stride]: [heads, dim] first
  const void* k;  // [tokens, stride]: [kv_heads, dim] first
  const void* v;
  void* out;          // [tokens, heads * dim]
  const int* starts;  // [prompts + 1]: the first row of each prompt, then the number of rows
  int prompts, longest, heads, kv_heads, dim, stride;
  float scale, softcap;
};
cudaError_t PromptAttention(const PromptAttentionArguments& arguments, cudaStream_t stream);

// decode_attention.cu. Row i attends to the last `window` (0: all) of its first context[i] cached
// keys: out = softmax(cap tanh(q k' scale / cap)) v; softcap 0: none. A row with context 0 is
// padding and gives zeros. The keys are split into parts of kKeysOfPart, from the first that the
// row sees; the parts meet in their order.
// REQUIRES: heads % kv_heads == 0, head_dim % 8 == 0, head_dim <= 256, `arrived` all zero; it is
// zero again afterwards.
struct DecodeAttentionArguments {
  const float* q;  // [rows, q_stride]: [heads, head_dim] first, rotated
  Pages pages;
  const int* block_table;  // [rows, table_width]
  const int* context;      // [rows], at most table_width * block_size
  float* out;              // [rows, heads * head_dim]
  float* partial;          // DecodeAttentionWorkspace().partial_bytes
  unsigned* arrived;       // DecodeAttentionWorkspace().counters
  int rows, heads, q_stride, table_width, window;
  float scale, softcap;
};
constexpr int kKeysOfPart = 256;
cudaError_t DecodeAttention(const DecodeAttentionArguments& arguments, cudaStream_t stream);
ProductWorkspace DecodeAttentionWorkspace(int rows, int heads, int head_dim, int max_context,
                                          int kv_heads);

// choose.cu. From logits to tokens, in the order of the `sample` operator: soft-cap, repetition
// penalty, mask, temperature, top-k, min-p, top-p, then the arg-max of score + noise; ties go to
// the lowest id. The noise is a function of seed, counter and id alone. An id of -1: the row's
// logits hold a NaN. Marks the chosen ids in `seen`. Probabilities are summed as integers for
// top-p, and in a fixed order for `logprobs`.
struct ChooseArguments {
  const float* logits;  // [rows, stride], without the soft-cap
  const float* params;  // [rows, 4]: temperature, top_p, min_p, repetition
  const int* controls;  // [rows, 8]: top_k, mask line, seen line, forced id, seed (two), counter, 0
  const int* masks;     // [lines, words]: bits of allowed ids
  int* seen;            // [lines, words]: bits of ids that came before; a line belongs to one row
  float* scores;        // workspace [rows, vocab]
  int* ids;             // [rows]
  float* logprobs;      // [rows], or null
  int rows, vocab, stride, words;
  float softcap;             // 0: none
  bool logprobs_of_allowed;  // the probabilities are those among the allowed ids
};
cudaError_t Choose(const ChooseArguments& arguments, cudaStream_t stream);

}  // namespace paligemma::gpu

#endif  // CORE_GPU_KERNELS_H_
