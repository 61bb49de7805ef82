// SPDX-License-Identifier: Apache-2.0
// Loads a TorchScript file by mapping it: torch::jit::load leaves the weights unread, and the
// module's tensors are then bound to the mapping. Weights are read once, when they are packed.
// Internal to core/model. Thread safety: none.
#ifndef CORE_MODEL_MAPPED_MODULE_H_
#define CORE_MODEL_MAPPED_MODULE_H_

#include <caffe2/serialize/read_adapter_interface.h>
#include <torch/csrc/jit/api/module.h>

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/base/status.h"

namespace paligemma {

// A file mapped for reading. It must not shrink while it is mapped: reads past its end kill.
class FileMapping {
 public:
  // FAILED_PRECONDITION if the file is not `expected_size` bytes long.
  static StatusOr<std::shared_ptr<const FileMapping>> Open(const std::string& path,
                                                           std::int64_t expected_size);
  ~FileMapping();
  FileMapping(const FileMapping&) = delete;
  FileMapping& operator=(const FileMapping&) = delete;

  const char* data() const { return data_; }
  std::size_t size() const { return size_; }
  bool Contains(const void* pointer) const;
  // Lets go of the pages of [pointer, pointer + size), which were only read.
  void Forget(const void* pointer, std::size_t size) const;

 private:
  FileMapping(const char* data, std::size_t size) : data_(data), size_(size) {}
  const char* const data_;
  const std::size_t size_;
};

// What torch reads instead of a file. A read of a whole tensor record is only remembered.
class LazyReader : public caffe2::serialize::ReadAdapterInterface {
 public:
  using Records = std::unordered_map<std::uint64_t, std::size_t>;  // offset -> bytes

  LazyReader(std::shared_ptr<const FileMapping> file, Records skipped_records);
  std::size_t size() const override { return file_->size(); }
  std::size_t read(std::uint64_t position, void* buffer, std::size_t count,
                   const char* what = "") const override;

  // Points the tensors of `module` whose bytes were not read at the mapping.
  void Bind(torch::jit::Module module) const;

 private:
  const std::shared_ptr<const FileMapping> file_;
  const Records skipped_records_;
  // Buffer that torch meant to fill -> offset in the file. The interface's read is const.
  mutable std::unordered_map<const void*, std::uint64_t> unread_;
};

// The text of extra/paligemma.json; reads no code. Throws what torch throws.
std::string ReadExtra(const std::shared_ptr<const FileMapping>& file);

// The module with its large tensors bound to the mapping. Throws what torch throws.
torch::jit::Module LoadMapped(const std::shared_ptr<const FileMapping>& file);

// Calls visit(module, attribute name, tensor) for every tensor with elements.
void ForEachTensor(
    torch::jit::Module root,
    const std::function<void(torch::jit::Module, const std::string&, const at::Tensor&)>& visit);

// Replaces every tensor that lies in the mapping by what `adopt` makes of it (attribute name,
// tensor), letting go of its pages one by one: afterwards nothing refers to the mapping.
void AdoptTensors(const FileMapping& file, torch::jit::Module module,
                  const std::function<at::Tensor(const std::string&, const at::Tensor&)>& adopt);

}  // namespace paligemma

#endif  // CORE_MODEL_MAPPED_MODULE_H_
