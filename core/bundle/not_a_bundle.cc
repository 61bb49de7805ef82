// SPDX-License-Identifier: Apache-2.0
#include "core/bundle/not_a_bundle.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>
#include <vector>

namespace paligemma {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kLfsMark = "version https://git-lfs.github.com/spec/";
constexpr std::size_t kHeadBytes = 512;
constexpr std::size_t kMaxNames = 10'000;  // of a folder that are looked at

std::string HeadOf(const std::string& path) {
  std::string head(kHeadBytes, '\0');
  std::ifstream stream(path, std::ios::binary);
  stream.read(head.data(), static_cast<std::streamsize>(head.size()));
  head.resize(static_cast<std::size_t>(std::max<std::streamsize>(stream.gcount(), 0)));
  return head;
}

bool HasAt(std::string_view head, std::size_t at, std::string_view wanted) {
  return head.size() >= at + wanted.size() && head.substr(at, wanted.size()) == wanted;
}

std::string Import(const std::string& path) {
  return "export it first: python -m paligemma_export import " + path + " --output=BUNDLE";
}

// OWNER/NAME, as the Hugging Face hub names models.
bool IsHubId(std::string_view path) {
  const std::size_t slash = path.find('/');
  if (slash == std::string_view::npos || slash == 0 || slash + 1 == path.size()) return false;
  if (path.front() == '.' || path.find('/', slash + 1) != std::string_view::npos) return false;
  std::error_code error;
  return !fs::exists(fs::path(path.substr(0, slash)), error);
}

std::string DescribeAbsent(const std::string& path) {
  if (path.starts_with("https://") || path.starts_with("http://")) {
    return path + " is a web address, nothing is fetched: download the model, then " +
           Import("DIR");
  }
  if (IsHubId(path)) {
    const std::string name = path.substr(path.find('/') + 1);
    return path + ": no such folder. A model of the Hugging Face hub is fetched with hf download " +
           path + " --local-dir " + name + "; then " + Import(name);
  }
  return path + ": no such folder, so this is not a bundle";
}

// What a file is, "" if its bytes do not say it.
std::string KindOfFile(const std::string& path, std::string_view head) {
  struct Signature {
    std::size_t at;
    std::string_view bytes;
    std::string_view sentence;
  };
  constexpr std::string_view kUnpack = "is an archive, not a folder: unpack it and name the folder";
  static constexpr std::array<Signature, 12> kSignatures = {{
      {0, kLfsMark, "is a git-lfs pointer, not the file itself: run git lfs pull"},
      {0, "GGUF", "is GGUF, made for llama.cpp: export the original checkpoint with --quantize"},
      {0, "\x89HDF", "is HDF5 (Keras): export the Hugging Face or big_vision files of the model"},
      {0, "\x80\x02", "is a pickle: convert it to safetensors, then export it"},
      {0, "\x1F\x8B", kUnpack},
      {0, "BZh", kUnpack},
      {0,
       "\xFD"
       "7zXZ",
       kUnpack},
      {0, "\x28\xB5\x2F\xFD", kUnpack},
      {257, "ustar", kUnpack},
      {4, "TFL3", "is TensorFlow Lite: export the original checkpoint"},
      {0, "<!DOCTYPE", "is a web page, not a model: the download went wrong"},
      {0, "<html", "is a web page, not a model: the download went wrong"},
  }};
  for (const Signature& one : kSignatures) {
    if (HasAt(head, one.at, one.bytes)) return std::string(one.sentence);
  }
  if (HasAt(head, 8, "{") && head.size() > 9 && head[5] == '\0' && head[6] == '\0') {
    return "holds the weights of a checkpoint (safetensors): name its folder to the exporter, "
           "python -m paligemma_export import DIR --output=BUNDLE";
  }
  if (HasAt(head, 0, "PK")) {
    if (path.ends_with(".npz")) return "is a big_vision checkpoint: " + Import(path);
    if (path.ends_with(".pt") || path.ends_with(".bin") || path.ends_with(".pth")) {
      return "is one PyTorch file; a bundle is the folder with manifest.json";
    }
    return std::string(kUnpack);
  }
  return "";
}

std::string DescribeFile(const std::string& path) {
  const std::string head = HeadOf(path);
  if (head.empty()) return path + " is an empty file; a bundle is a folder with manifest.json";
  if (path.ends_with("manifest.json")) {
    return path + " is the manifest; name the folder that it lies in";
  }
  const std::string kind = KindOfFile(path, head);
  if (!kind.empty()) return path + " " + kind;
  return path + " is a file; a bundle is a folder with manifest.json";
}

std::vector<std::string> NamesIn(const std::string& path) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(path, error), end; !error && entry != end;
       entry.increment(error)) {
    names.push_back(entry->path().filename().string());
    if (names.size() == kMaxNames) break;
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string DescribeFolder(const std::string& path) {
  const std::vector<std::string> names = NamesIn(path);
  const auto has = [&](std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  const auto ending = [&](std::string_view suffix) -> const std::string* {
    const auto found = std::find_if(names.begin(), names.end(), [&](const std::string& name) {
      return name.ends_with(suffix);
    });
    return found == names.end() ? nullptr : &*found;
  };
  if (names.empty()) return path + " is an empty folder, not a bundle";
  if (has("config.json") && !has("manifest.json")) {
    return path + " is a Hugging Face checkpoint, not a bundle: " + Import(path);
  }
  if (has("adapter_config.json")) {
    return path + " is a PEFT adapter, not a bundle: export its base with it: python -m " +
           "paligemma_export import BASE --adapter=" + path + " --output=BUNDLE";
  }
  if (has("snapshots")) return path + " is a hub cache, not a bundle: " + Import(path);
  for (const std::string& name : names) {
    std::error_code error;
    const std::string inner = path + "/" + name;
    if (fs::exists(fs::path(inner) / "manifest.json", error)) {
      return path + " holds bundles and is none: name one, such as --model=" + inner;
    }
  }
  if (const auto* archive = ending(".npz")) {
    return path + " holds a big_vision checkpoint: " + Import(path + "/" + *archive);
  }
  if (ending(".gguf") != nullptr) {
    return path + " holds GGUF weights, made for llama.cpp: export the original checkpoint";
  }
  return path + "/manifest.json: no such file, so this is not a bundle (export makes one)";
}

}  // namespace

bool IsLfsPointer(const std::string& path) { return HeadOf(path).starts_with(kLfsMark); }

std::string DescribeNonBundle(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::is_directory(status)) return DescribeFolder(path);
  if (fs::exists(status)) return DescribeFile(path);
  return DescribeAbsent(path);
}

}  // namespace paligemma
