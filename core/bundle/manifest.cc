// SPDX-License-Identifier: Apache-2.0
#include "core/bundle/manifest.h"

#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "core/bundle/json_fields.h"
#include "core/bundle/not_a_bundle.h"

namespace paligemma {
namespace {

constexpr std::int64_t kChunkBytes = std::int64_t{16} << 20;
constexpr std::int64_t kMaxManifestBytes = std::int64_t{16} << 20;

bool IsHash(std::string_view text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

// Returns true if `name` is a plain file name: no folder, no hidden file, no way out of the bundle.
bool IsFileName(std::string_view name) {
  if (name.empty() || name.size() > 128 || name.front() == '.') return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
}

bool IsModelName(std::string_view name) {
  const auto alphanumeric = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  if (name.empty() || name.size() > 63) return false;
  if (!alphanumeric(name.front()) || !alphanumeric(name.back())) return false;
  return std::all_of(name.begin(), name.end(),
                     [&](char c) { return alphanumeric(c) || c == '-' || c == '.'; });
}

// Returns the index of the value among `names`.
template <std::size_t N>
int OneOf(const JsonFields& fields, std::string_view name, const std::string_view (&names)[N]) {
  const std::string value = fields.String(name);
  const auto found = std::find(std::begin(names), std::end(names), value);
  if (found != std::end(names)) return static_cast<int>(found - std::begin(names));
  std::string accepted;
  for (std::string_view each : names)
    accepted += (accepted.empty() ? "" : ", ") + std::string(each);
  fields.Fail(name, "\"" + value + "\" is unknown, not one of " + accepted);
  return 0;
}

double Positive(const JsonFields& fields, std::string_view name) {
  const double value = fields.Number(name);
  if (!(value > 0)) fields.Fail(name, "is not positive");
  return value;
}

double NotNegative(const JsonFields& fields, std::string_view name) {
  const double value = fields.Number(name);
  if (value < 0) fields.Fail(name, "is negative");
  return value;
}

VisionArchitecture ReadVision(const JsonFields& fields) {
  VisionArchitecture vision;
  vision.hidden = fields.Int("hidden", 1);
  vision.layers = fields.Int("layers", 1);
  vision.heads = fields.Int("heads", 1);
  vision.head_dim = fields.Int("head_dim", 1);
  vision.intermediate = fields.Int("intermediate", 1);
  vision.patch = fields.Int("patch", 1);
  vision.eps = Positive(fields, "eps");
  return vision;
}

Architecture ReadArchitecture(const JsonFields& fields) {
  Architecture numbers;
  numbers.hidden = fields.Int("hidden", 1);
  numbers.layers = fields.Int("layers", 1);
  numbers.heads = fields.Int("heads", 1);
  numbers.kv_heads = fields.Int("kv_heads", 1);
  numbers.head_dim = fields.Int("head_dim", 1);
  numbers.intermediate = fields.Int("intermediate", 1);
  numbers.vocab = fields.Int("vocab", 1);
  numbers.eps = Positive(fields, "eps");
  numbers.rope_theta = Positive(fields, "rope_theta");
  numbers.query_scale = Positive(fields, "query_scale");
  numbers.embed_scale = Positive(fields, "embed_scale");
  numbers.attention_softcap = NotNegative(fields, "attention_softcap");
  numbers.final_softcap = NotNegative(fields, "final_softcap");
  numbers.windows = fields.Ints("windows", 0);
  numbers.max_positions = fields.Int("max_positions", 1);
  if (fields.Has("first_position")) {  // bundles of the first exporters have none
    numbers.first_position = fields.Int("first_position", 0, 1);
  }
  numbers.vision = ReadVision(fields.Object("vision"));
  if (static_cast<int>(numbers.windows.size()) != numbers.layers) {
    fields.Fail("windows", "has " + std::to_string(numbers.windows.size()) + " values for " +
                               std::to_string(numbers.layers) + " layers");
  }
  if (numbers.kv_heads > 0 && numbers.heads % numbers.kv_heads != 0) {
    fields.Fail("heads", "is no multiple of kv_heads");
  }
  return numbers;
}

ImageSpec ReadImage(const JsonFields& fields, int patch) {
  constexpr std::string_view kResampling[] = {"pillow_bicubic", "bilinear", "bilinear_antialias"};
  constexpr std::string_view kPadding[] = {"squash", "pad_white"};
  ImageSpec image;
  image.size = fields.Int("size", 1, 8192);
  image.tokens = fields.Int("tokens", 1);
  image.resampling = static_cast<Resampling>(OneOf(fields, "resampling", kResampling));
  image.padding = static_cast<Padding>(OneOf(fields, "padding", kPadding));
  image.max_count = fields.Int("max_count", 1, 4096);
  const int grid = image.size / std::max(patch, 1);
  if (image.tokens != grid * grid) {
    fields.Fail("tokens", "is " + std::to_string(image.tokens) + ", but size and patch make " +
                              std::to_string(grid * grid));
  }
  return image;
}

// Null if the manifest has neither list.
std::shared_ptr<const OutputRules> ReadOutputRules(const JsonFields& fields, int vocab) {
  if (!fields.Has("more_eos") && !fields.Has("suppressed")) return nullptr;
  auto rules = std::make_shared<OutputRules>();
  if (fields.Has("more_eos")) rules->more_ends = fields.Ints("more_eos", 0);
  if (fields.Has("suppressed")) rules->suppressed = fields.Ints("suppressed", 0);
  const auto beyond = [&](TokenId token) { return token >= vocab; };
  for (const auto& [name, tokens] :
       {std::pair{"more_eos", &rules->more_ends}, std::pair{"suppressed", &rules->suppressed}}) {
    if (std::any_of(tokens->begin(), tokens->end(), beyond)) {
      fields.Fail(name, "holds a token beyond the vocabulary");
    }
  }
  return rules;
}

TokenSpec ReadTokens(const JsonFields& fields, int vocab) {
  TokenSpec tokens;
  tokens.vocab = fields.Int("vocab", 1);
  if (tokens.vocab != vocab) fields.Fail("vocab", "differs from architecture.vocab");
  const int last = std::max(tokens.vocab - 1, 0);
  tokens.pad = fields.Int("pad", 0, last);
  tokens.eos = fields.Int("eos", 0, last);
  tokens.bos = fields.Int("bos", 0, last);
  tokens.newline = fields.Int("newline", 0, last);
  tokens.loc_first = fields.Int("loc_first");
  tokens.loc_count = fields.Int("loc_count");
  tokens.seg_first = fields.Int("seg_first");
  tokens.seg_count = fields.Int("seg_count");
  // <locNNNN> has four digits for its 1024 bins, and <segNNN> three for its 128 codes.
  if (tokens.loc_count != 0 && tokens.loc_count != 1024) fields.Fail("loc_count", "is not 1024");
  if (tokens.seg_count != 0 && tokens.seg_count != 128) fields.Fail("seg_count", "is not 128");
  tokens.output_rules = ReadOutputRules(fields, tokens.vocab);
  if (fields.Has("client_specials")) {
    tokens.client_specials = fields.Strings("client_specials");
    for (const std::string& piece : tokens.client_specials) {
      if (piece.size() < 3 || piece.front() != '<' || piece.back() != '>') {
        fields.Fail("client_specials", "holds \"" + piece + "\", which is not <...>");
      }
    }
  }
  if (tokens.loc_first > tokens.vocab - tokens.loc_count) {
    fields.Fail("loc_first", "reaches beyond the vocabulary");
  }
  if (tokens.seg_first > tokens.vocab - tokens.seg_count) {
    fields.Fail("seg_first", "reaches beyond the vocabulary");
  }
  return tokens;
}

// Checks that a template holds `required`, unless that is empty, and no placeholder besides {lang}.
void CheckTemplate(const JsonFields& fields, std::string_view name, const std::string& text,
                   std::string_view required) {
  if (!required.empty() && text.find(required) == std::string::npos) {
    fields.Fail(name, "lacks " + std::string(required));
  }
  for (std::size_t at = text.find('{'); at != std::string::npos; at = text.find('{', at + 1)) {
    const std::string_view rest = std::string_view(text).substr(at);
    if (rest.starts_with("{lang}") || (!required.empty() && rest.starts_with(required))) continue;
    fields.Fail(name, "has an unknown placeholder");
  }
}

void ReadTemplates(const JsonFields& fields, Task task, TaskSpec* spec) {
  if (task == Task::kCaption) {
    const JsonFields prompts = fields.Object("prompts");
    spec->prompt = prompts.String("short");
    CheckTemplate(prompts, "short", spec->prompt, "");
    if (prompts.Has("long")) {
      spec->long_prompt = prompts.String("long");
      CheckTemplate(prompts, "long", *spec->long_prompt, "");
    }
  } else if (task != Task::kGenerate) {
    spec->prompt = fields.String("prompt");
    CheckTemplate(fields, "prompt", spec->prompt, TraitsOf(task).placeholder);
  }
}

TaskSpec ReadTask(const JsonFields& fields, Task task, const LimitSpec& limits) {
  TaskSpec spec;
  ReadTemplates(fields, task, &spec);
  if (fields.Has("languages")) spec.languages = fields.Strings("languages");
  if (fields.Has("label_separator")) spec.label_separator = fields.String("label_separator");
  spec.max_tokens = fields.Int("max_tokens", 1, std::max(limits.max_output_tokens, 1));
  spec.default_tokens = fields.Int("default_tokens", 1, std::max(spec.max_tokens, 1));
  const bool has_language = spec.prompt.find("{lang}") != std::string::npos ||
                            spec.long_prompt.value_or("").find("{lang}") != std::string::npos;
  if (has_language && spec.languages.empty()) {
    fields.Fail("languages", "is empty, but the prompt has {lang}");
  }
  return spec;
}

std::map<Task, TaskSpec> ReadTasks(const JsonFields& fields, const LimitSpec& limits) {
  std::map<Task, TaskSpec> tasks;
  for (const std::string& key : fields.Keys()) {
    const auto found = std::find_if(kTasks.begin(), kTasks.end(), [&](const TaskTraits& traits) {
      return traits.manifest_key == key;
    });
    if (found == kTasks.end()) {
      fields.Fail(key, "is an unknown method");
      continue;
    }
    tasks[found->task] = ReadTask(fields.Object(key), found->task, limits);
  }
  if (tasks.empty()) fields.Fail("", "names no method");
  return tasks;
}

FileSpec ReadFile(const JsonFields& fields) {
  FileSpec file;
  file.size = fields.Integer("size", 0, std::int64_t{1} << 50);
  file.sha256 = fields.String("sha256");
  file.chunks = fields.Strings("chunks");
  if (!IsHash(file.sha256)) fields.Fail("sha256", "is not 64 lower-case hex digits");
  if (!std::all_of(file.chunks.begin(), file.chunks.end(), IsHash)) {
    fields.Fail("chunks", "holds something that is not 64 lower-case hex digits");
  }
  const std::int64_t num_chunks = (file.size + kChunkBytes - 1) / kChunkBytes;
  if (static_cast<std::int64_t>(file.chunks.size()) != num_chunks) {
    fields.Fail("chunks", "has " + std::to_string(file.chunks.size()) + " values, but size makes " +
                              std::to_string(num_chunks));
  }
  return file;
}

std::map<std::string, FileSpec> ReadFiles(const JsonFields& fields) {
  std::map<std::string, FileSpec> files;
  for (const std::string& name : fields.Keys()) {
    if (!IsFileName(name)) fields.Fail(name, "is not a plain file name");
    files[name] = ReadFile(fields.Object(name));
  }
  for (const char* name : {"decoder.pt", "vision.pt", "tokenizer.model"}) {
    if (!files.contains(name)) fields.Fail(name, "missing");
  }
  return files;
}

Recipe ReadRecipe(const JsonFields& fields) {
  constexpr std::string_view kEncodings[] = {"float32", "bfloat16", "int8", "int4", "fp8"};
  const auto read = [&](std::string_view part) {
    return std::string(kEncodings[OneOf(fields, part, kEncodings)]);
  };
  return {read("embedding"), read("attention"), read("mlp"), read("vision")};
}

// Checks rules that involve several blocks of the manifest.
void CheckAcross(const JsonFields& root, const Manifest& manifest) {
  if (!IsModelName(manifest.name)) {
    root.Fail("name", "\"" + manifest.name + "\" is not a lower-case label");
  }
  const bool segment = manifest.Supports(Task::kSegment);
  if (segment && !manifest.files.contains("mask_decoder.pt")) {
    root.Fail("methods.segment", "needs mask_decoder.pt in files");
  }
  if (segment && manifest.tokens.seg_count == 0) {
    root.Fail("methods.segment", "needs tokens.seg_count");
  }
  if ((segment || manifest.Supports(Task::kDetect)) && manifest.tokens.loc_count == 0) {
    root.Fail(segment ? "methods.segment" : "methods.detect", "needs tokens.loc_count");
  }
  const Architecture& model = manifest.architecture;
  if (manifest.image.tokens >= model.max_positions - model.first_position) {
    root.Fail("architecture.max_positions", "is too small for one image");
  }
}

Manifest ReadManifest(const JsonFields& root) {
  constexpr std::string_view kWindowModes[] = {"none", "hf"};
  constexpr std::string_view kDtypes[] = {"float32", "bfloat16"};
  Manifest manifest;
  manifest.format = root.Int("format", 1, kBundleFormat);
  manifest.name = root.String("name");
  manifest.display_name = root.String("display_name");
  manifest.revision = root.String("revision");
  manifest.architecture = ReadArchitecture(root.Object("architecture"));
  manifest.image = ReadImage(root.Object("image"), manifest.architecture.vision.patch);
  manifest.window_mode = kWindowModes[OneOf(root, "window_mode", kWindowModes)];
  manifest.tokens = ReadTokens(root.Object("tokens"), manifest.architecture.vocab);
  manifest.dtype = kDtypes[OneOf(root, "dtype", kDtypes)];
  manifest.quantization = root.String("quantization");
  if (root.Has("recipe")) {
    manifest.recipe = ReadRecipe(root.Object("recipe"));
  }
  const JsonFields limits = root.Object("limits");
  manifest.limits.max_input_tokens = limits.Int("max_input_tokens", 1);
  manifest.limits.max_output_tokens = limits.Int("max_output_tokens", 1, kMaxOutputTokens);
  manifest.limits.max_labels = limits.Int("max_labels", 1);
  manifest.tasks = ReadTasks(root.Object("methods"), manifest.limits);
  manifest.files = ReadFiles(root.Object("files"));
  const JsonFields provenance = root.Object("provenance");
  manifest.provenance.source = provenance.String("source");
  manifest.provenance.source_sha256 = provenance.String("source_sha256");
  manifest.provenance.exporter = provenance.String("exporter");
  manifest.provenance.license = provenance.String("license");
  CheckAcross(root, manifest);
  return manifest;
}

}  // namespace

StatusOr<Manifest> ParseManifest(std::string_view json) {
  const auto document = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded()) {
    return Status(StatusCode::kInvalidArgument, "manifest.json: is not valid JSON");
  }
  if (!document.is_object()) {
    return Status(StatusCode::kInvalidArgument, "manifest.json: is not a JSON object");
  }
  Status status;
  const JsonFields root(&document, "", &status);
  // The format comes first, since a newer one may differ in anything else.
  const std::int64_t format = root.Integer("format", 1, INT64_MAX);
  if (status.ok() && format > kBundleFormat) {
    root.Fail("format", "is " + std::to_string(format) +
                            " and needs a newer server; this one reads up to " +
                            std::to_string(kBundleFormat));
  }
  PG_RETURN_IF_ERROR(status);
  Manifest manifest = ReadManifest(root);
  PG_RETURN_IF_ERROR(status);
  return manifest;
}

StatusOr<Manifest> LoadManifest(const std::string& directory) {
  const std::string path = directory + "/manifest.json";
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return Status(StatusCode::kNotFound, DescribeNonBundle(directory));
  }
  if (info.st_size > kMaxManifestBytes) {
    return Status(StatusCode::kInvalidArgument, path + ": too large for a manifest");
  }
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  if (!stream) return Status(StatusCode::kNotFound, path + ": cannot be read");
  if (text.str().starts_with("version https://git-lfs")) {
    return Status(StatusCode::kInvalidArgument,
                  path + ": is a git-lfs pointer, not the file itself: run git lfs pull");
  }
  PG_ASSIGN_OR_RETURN(Manifest manifest, ParseManifest(text.str()));
  for (const auto& [name, file] : manifest.files) {
    const std::string file_path = directory + "/" + name;
    if (::stat(file_path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) {
      return Status(StatusCode::kNotFound, file_path + ": missing, though the manifest names it");
    }
    if (info.st_size != file.size && IsLfsPointer(file_path)) {
      return Status(StatusCode::kInvalidArgument,
                    file_path + ": is a git-lfs pointer, not the file itself: run git lfs pull");
    }
    if (info.st_size != file.size) {
      return Status(StatusCode::kInvalidArgument,
                    file_path + ": has " + std::to_string(info.st_size) +
                        " bytes, but the manifest says " + std::to_string(file.size));
    }
  }
  return manifest;
}

}  // namespace paligemma
