// SPDX-License-Identifier: Apache-2.0
#include "core/bundle/json_fields.h"

#include <cmath>

namespace paligemma {

using nlohmann::json;

std::string JsonFields::PathOf(std::string_view name) const {
  if (name.empty()) return path_;
  return path_.empty() ? std::string(name) : path_ + "." + std::string(name);
}

void JsonFields::Fail(std::string_view name, std::string_view problem) const {
  if (!status_->ok()) return;
  *status_ = Status(StatusCode::kInvalidArgument,
                    "manifest.json: " + PathOf(name) + ": " + std::string(problem));
}

const json* JsonFields::Find(std::string_view name) const {
  if (!status_->ok()) return nullptr;
  const auto found = object_->find(name);
  if (found == object_->end()) {
    Fail(name, "missing");
    return nullptr;
  }
  return &*found;
}

JsonFields JsonFields::Object(std::string_view name) const {
  static const json* const empty = new json(json::object());
  const json* value = Find(name);
  if (value != nullptr && !value->is_object()) Fail(name, "is not an object");
  return JsonFields(value != nullptr && value->is_object() ? value : empty, PathOf(name), status_);
}

std::string JsonFields::String(std::string_view name) const {
  const json* value = Find(name);
  if (value == nullptr) return "";
  if (!value->is_string()) {
    Fail(name, "is not a string");
    return "";
  }
  return value->get<std::string>();
}

double JsonFields::Number(std::string_view name) const {
  const json* value = Find(name);
  if (value == nullptr) return 0;
  if (!value->is_number() || !std::isfinite(value->get<double>())) {
    Fail(name, "is not a number");
    return 0;
  }
  return value->get<double>();
}

std::int64_t JsonFields::Integer(std::string_view name, std::int64_t min, std::int64_t max) const {
  const json* value = Find(name);
  if (value == nullptr) return min;
  // An unsigned number that int64 cannot hold is above every `max`.
  const bool fits = value->is_number_integer() &&
                    !(value->is_number_unsigned() && value->get<std::uint64_t>() > INT64_MAX);
  if (!value->is_number_integer()) {
    Fail(name, "is not an integer");
    return min;
  }
  if (!fits || value->get<std::int64_t>() < min || value->get<std::int64_t>() > max) {
    Fail(name, "is " + value->dump() + ", not in [" + std::to_string(min) + ", " +
                   std::to_string(max) + "]");
    return min;
  }
  return value->get<std::int64_t>();
}

std::vector<std::string> JsonFields::Strings(std::string_view name) const {
  std::vector<std::string> strings;
  const json* value = Find(name);
  if (value == nullptr) return strings;
  if (!value->is_array()) {
    Fail(name, "is not a list");
    return strings;
  }
  for (const json& item : *value) {
    if (!item.is_string()) {
      Fail(name, "holds something that is not a string");
      return {};
    }
    strings.push_back(item.get<std::string>());
  }
  return strings;
}

std::vector<int> JsonFields::Ints(std::string_view name, int min) const {
  std::vector<int> ints;
  const json* value = Find(name);
  if (value == nullptr) return ints;
  if (!value->is_array()) {
    Fail(name, "is not a list");
    return ints;
  }
  for (const json& item : *value) {
    if (!item.is_number_integer() || item.get<std::int64_t>() < min ||
        item.get<std::int64_t>() > (1 << 30)) {
      Fail(name, "holds something that is not an integer from " + std::to_string(min));
      return {};
    }
    ints.push_back(item.get<int>());
  }
  return ints;
}

std::vector<std::string> JsonFields::Keys() const {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object_->items()) keys.push_back(key);
  return keys;
}

}  // namespace paligemma
