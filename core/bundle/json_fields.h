// SPDX-License-Identifier: Apache-2.0
// Reads the fields of a JSON object by type; errors name the field. All readers of one document
// share one Status, which keeps the first problem. Later reads return empty values, so that a
// parser reads straight through and looks at the status once. Not thread safe. The document and the
// status must outlive the reader.
#ifndef CORE_BUNDLE_JSON_FIELDS_H_
#define CORE_BUNDLE_JSON_FIELDS_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/status.h"

namespace paligemma {

class JsonFields {
 public:
  JsonFields(const nlohmann::json* object, std::string path, Status* status)
      : object_(object), path_(std::move(path)), status_(status) {}

  bool Has(std::string_view name) const { return object_->contains(name); }
  JsonFields Object(std::string_view name) const;
  std::string String(std::string_view name) const;
  // Reads a finite number.
  double Number(std::string_view name) const;
  // Reads an integer in [min, max].
  std::int64_t Integer(std::string_view name, std::int64_t min, std::int64_t max) const;
  int Int(std::string_view name, int min = 0, int max = 1 << 30) const {
    return static_cast<int>(Integer(name, min, max));
  }
  std::vector<std::string> Strings(std::string_view name) const;
  std::vector<int> Ints(std::string_view name, int min) const;
  // Returns the keys, in order.
  std::vector<std::string> Keys() const;

  // Keeps the error "<path>.<name>: <problem>" unless the status holds one already.
  void Fail(std::string_view name, std::string_view problem) const;

 private:
  // Null after an error.
  const nlohmann::json* Find(std::string_view name) const;
  std::string PathOf(std::string_view name) const;

  const nlohmann::json* object_;
  std::string path_;  // "" for the document itself
  Status* status_;
};

}  // namespace paligemma

#endif  // CORE_BUNDLE_JSON_FIELDS_H_
