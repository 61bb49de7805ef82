// SPDX-License-Identifier: Apache-2.0
// Typed reading of a JSON object whose errors name the field. The first problem is kept in the
// Status that all readers of one document share; later reads return empty values, so that a parser
// can read straight through and look at the status once. Not thread safe; points at the document
// and the status, which outlive it.
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
  // A finite number.
  double Number(std::string_view name) const;
  // An integer in [min, max].
  std::int64_t Integer(std::string_view name, std::int64_t min, std::int64_t max) const;
  int Int(std::string_view name, int min = 0, int max = 1 << 30) const {
    return static_cast<int>(Integer(name, min, max));
  }
  std::vector<std::string> Strings(std::string_view name) const;
  std::vector<int> Ints(std::string_view name, int min) const;
  // The keys, in order.
  std::vector<std::string> Keys() const;

  // Keeps "<path>.<name>: <problem>" unless there was an error before.
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
