// SPDX-License-Identifier: Apache-2.0
// manifest.json of a model bundle holds everything that the server must not guess. These are plain
// values, read once at start. The exporter checks the same schema
// (export/paligemma_export/manifest.py), and docs/bundle.md explains it.
#ifndef CORE_BUNDLE_MANIFEST_H_
#define CORE_BUNDLE_MANIFEST_H_

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/status.h"
#include "core/base/task.h"
#include "core/base/types.h"

namespace paligemma {

// The newest format that this server reads. 2: prompts may hold special pieces, and
// tokens.client_specials lets clients write some, which older servers would cut into characters;
// tokens.more_eos and tokens.suppressed, which older servers would not know. A bundle has the
// oldest format that says all it needs.
inline constexpr int kBundleFormat = 2;
// The largest limits.max_output_tokens.
inline constexpr int kMaxOutputTokens = 4096;

struct VisionArchitecture {
  int hidden = 0, layers = 0, heads = 0, head_dim = 0, intermediate = 0, patch = 0;
  double eps = 0;
};

// The numbers of the model's layers (reference: semantics 1.1).
struct Architecture {
  int hidden = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0, intermediate = 0, vocab = 0;
  int first_position = 0;  // of the first token, for the rotation: 0 as trained, 1 as transformers
  double eps = 0, rope_theta = 0, query_scale = 0, embed_scale = 0;
  double attention_softcap = 0, final_softcap = 0;  // 0: none
  std::vector<int> windows;                         // per layer; 0: none
  int max_positions = 0;
  VisionArchitecture vision;
};

enum class Resampling { kPillowBicubic, kBilinear, kBilinearAntialias };
enum class Padding { kSquash, kPadWhite };

struct ImageSpec {
  int size = 0;    // pixels of a side, e.g. 224
  int tokens = 0;  // soft tokens per image, e.g. 256
  Resampling resampling = Resampling::kPillowBicubic;
  Padding padding = Padding::kSquash;
  int max_count = 1;  // images in one request
};

// What a checkpoint's generation_config.json says about every answer. Shared by all sequences.
struct OutputRules {
  std::vector<TokenId> more_ends;   // end an answer as EOS does
  std::vector<TokenId> suppressed;  // never come out
};

struct TokenSpec {
  TokenId pad = 0, eos = 1, bos = 2, newline = 108;
  TokenId loc_first = 0, seg_first = 0;
  int loc_count = 0, seg_count = 0;
  int vocab = 0;
  // Special pieces, such as "<unused7>", that are tokens in the text of clients too.
  std::vector<std::string> client_specials;
  std::shared_ptr<const OutputRules> output_rules;  // null: EOS alone ends, every token may come
};

struct TaskSpec {
  // A template with {lang}, {question} or {labels}. kCaption has its short template here.
  std::string prompt;
  std::optional<std::string> long_prompt;  // kCaption only
  std::vector<std::string> languages;      // empty: the template has no {lang}
  std::string label_separator = " ; ";
  int default_tokens = 0, max_tokens = 0;
};

struct LimitSpec {
  int max_input_tokens = 0, max_output_tokens = 0, max_labels = 0;
};

struct FileSpec {
  std::int64_t size = 0;
  std::string sha256;               // hex
  std::vector<std::string> chunks;  // hex, of each 16 MiB
};

// The encoding of the matrices of each part: "float32", "bfloat16", "int8", "int4" or "fp8".
struct Recipe {
  std::string embedding;  // also the matrix of the logits
  std::string attention, mlp;
  std::string vision;
};

struct Provenance {
  std::string source, source_sha256, exporter, license;
};

struct Manifest {
  int format = 0;
  std::string name, display_name, revision;
  Architecture architecture;
  ImageSpec image;
  std::string window_mode;  // "none" or "hf"
  TokenSpec tokens;
  std::string dtype, quantization;
  std::optional<Recipe> recipe;    // bundles of the first exporters have none
  std::map<Task, TaskSpec> tasks;  // a task that is missing is unsupported
  LimitSpec limits;
  std::map<std::string, FileSpec> files;
  Provenance provenance;

  bool Supports(Task task) const { return tasks.contains(task); }
  // Returns the most output tokens that a request for `task` may ask for. REQUIRES: Supports(task).
  int MaxOutputTokens(Task task) const {
    const int own = tasks.at(task).max_tokens;
    return own > 0 ? own : limits.max_output_tokens;
  }
  // Returns the limit of output tokens for a request that names none. REQUIRES: Supports(task).
  int DefaultOutputTokens(Task task) const {
    const int own = tasks.at(task).default_tokens;
    return own > 0 ? own : MaxOutputTokens(task);
  }
};

// Parses and checks a manifest. An error is one line that names the field.
StatusOr<Manifest> ParseManifest(std::string_view json);

// Reads DIR/manifest.json and checks that every file that it names is there with its size. The
// loader checks the contents with VerifyFile() while it packs them.
StatusOr<Manifest> LoadManifest(const std::string& directory);

// Compares the sha256 of every chunk. An error names the file and the first wrong chunk.
Status VerifyFile(const std::string& path, const FileSpec& spec, int num_threads);

}  // namespace paligemma

#endif  // CORE_BUNDLE_MANIFEST_H_
