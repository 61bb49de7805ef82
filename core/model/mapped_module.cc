// SPDX-License-Identifier: Apache-2.0
#include "core/model/mapped_module.h"

#include <ATen/ops/from_blob.h>
#include <caffe2/serialize/inline_container.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <torch/csrc/jit/serialization/import.h>
#include <unistd.h>

#include <cstring>
#include <optional>
#include <utility>

namespace paligemma {
namespace {

constexpr std::size_t kSmallestSkipped = 4096;  // bytes; smaller records are simply read
constexpr std::uintptr_t kPage = 4096;

bool HoldsTensors(const std::string& record) {
  return record.starts_with("data/") || record.starts_with("constants/");
}

}  // namespace

StatusOr<std::shared_ptr<const FileMapping>> FileMapping::Open(const std::string& path,
                                                               std::int64_t expected_size) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    return Status(StatusCode::kNotFound, path + ": " + std::strerror(errno));
  }
  struct stat facts {};
  const bool known = ::fstat(descriptor, &facts) == 0;
  if (!known || facts.st_size != expected_size || facts.st_size == 0) {
    ::close(descriptor);
    return Status(StatusCode::kFailedPrecondition, path + ": " + std::to_string(facts.st_size) +
                                                       " bytes, the manifest says " +
                                                       std::to_string(expected_size));
  }
  const auto size = static_cast<std::size_t>(facts.st_size);
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  ::close(descriptor);
  if (data == MAP_FAILED) {
    return Status(StatusCode::kInternal, path + ": mmap: " + std::strerror(errno));
  }
  return std::shared_ptr<const FileMapping>(new FileMapping(static_cast<char*>(data), size));
}

FileMapping::~FileMapping() { ::munmap(const_cast<char*>(data_), size_); }

bool FileMapping::Contains(const void* pointer) const {
  const auto* byte = static_cast<const char*>(pointer);
  return byte >= data_ && byte < data_ + size_;
}

void FileMapping::Forget(const void* pointer, std::size_t size) const {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  const std::uintptr_t begin = (address + kPage - 1) & ~(kPage - 1);
  const std::uintptr_t end = (address + size) & ~(kPage - 1);
  if (end > begin) {
    ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }
}

LazyReader::LazyReader(std::shared_ptr<const FileMapping> file, Records skipped_records)
    : file_(std::move(file)), skipped_records_(std::move(skipped_records)) {}

std::size_t LazyReader::read(std::uint64_t position, void* buffer, std::size_t count,
                             const char* /*what*/) const {
  TORCH_CHECK(position <= file_->size() && count <= file_->size() - position,
              "a record reaches past the end of the file");
  const auto record = skipped_records_.find(position);
  if (record != skipped_records_.end() && record->second == count) {
    unread_[buffer] = position;
    return count;
  }
  unread_.erase(buffer);  // an older buffer's memory, used again
  std::memcpy(buffer, file_->data() + position, count);
  return count;
}

void LazyReader::Bind(torch::jit::Module module) const {
  ForEachTensor(module, [this](torch::jit::Module owner, const std::string& name,
                               const at::Tensor& tensor) {
    const auto found = unread_.find(tensor.storage().data());
    if (found == unread_.end()) {
      return;
    }
    const std::uint64_t offset = found->second + tensor.storage_offset() * tensor.element_size();
    TORCH_CHECK(offset + tensor.nbytes() <= file_->size(), name, " reaches past the file's end");
    auto* data = const_cast<char*>(file_->data() + offset);
    const auto keep = file_;
    owner.setattr(name,
                  at::from_blob(
                      data, tensor.sizes(), tensor.strides(), [keep](void*) {}, tensor.options()));
  });
}

std::string ReadExtra(const std::shared_ptr<const FileMapping>& file) {
  caffe2::serialize::PyTorchStreamReader reader(
      std::make_shared<LazyReader>(file, LazyReader::Records()));
  const auto [data, size] = reader.getRecord("extra/paligemma.json");
  return std::string(static_cast<const char*>(data.get()), size);
}

torch::jit::Module LoadMapped(const std::shared_ptr<const FileMapping>& file) {
  LazyReader::Records records;
  {
    caffe2::serialize::PyTorchStreamReader reader(
        std::make_shared<LazyReader>(file, LazyReader::Records()));
    for (const std::string& name : reader.getAllRecords()) {
      if (HoldsTensors(name) && reader.getRecordSize(name) >= kSmallestSkipped) {
        records[reader.getRecordOffset(name)] = reader.getRecordSize(name);
      }
    }
  }
  const auto reader = std::make_shared<LazyReader>(file, std::move(records));
  torch::jit::ExtraFilesMap no_extras;
  torch::jit::Module module =
      torch::jit::load(std::static_pointer_cast<caffe2::serialize::ReadAdapterInterface>(reader),
                       std::nullopt, no_extras, /*load_debug_files=*/false);
  reader->Bind(module);
  return module;
}

void ForEachTensor(
    torch::jit::Module root,
    const std::function<void(torch::jit::Module, const std::string&, const at::Tensor&)>& visit) {
  for (torch::jit::Module module : root.modules()) {
    const auto object = module._ivalue();
    const auto type = object->type();
    for (std::size_t i = 0; i < type->numAttributes(); ++i) {
      const c10::IValue value = object->getSlot(i);
      if (value.isTensor() && value.toTensor().defined() && value.toTensor().numel() > 0) {
        visit(module, type->getAttributeName(i), value.toTensor());
      }
    }
  }
}

void AdoptTensors(const FileMapping& file, torch::jit::Module module,
                  const std::function<at::Tensor(const std::string&, const at::Tensor&)>& adopt) {
  ForEachTensor(module,
                [&](torch::jit::Module owner, const std::string& name, const at::Tensor& tensor) {
                  const bool mapped = file.Contains(tensor.const_data_ptr());
                  owner.setattr(name, adopt(name, tensor));
                  if (mapped) {
                    file.Forget(tensor.const_data_ptr(), tensor.nbytes());
                  }
                });
}

}  // namespace paligemma
