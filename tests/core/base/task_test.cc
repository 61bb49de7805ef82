// SPDX-License-Identifier: Apache-2.0
#include "core/base/task.h"

#include <gtest/gtest.h>

#include <set>

namespace paligemma {
namespace {

TEST(TaskTest, EveryNameIsItsOwn) {
  std::set<std::string_view> names, keys, fields;
  for (const TaskTraits& traits : kTasks) {
    EXPECT_TRUE(names.insert(traits.name).second) << traits.name;
    EXPECT_TRUE(keys.insert(traits.manifest_key).second) << traits.manifest_key;
    EXPECT_TRUE(fields.insert(traits.field).second) << traits.field;
    EXPECT_EQ(&TraitsOf(traits.task), &traits);
  }
}

TEST(TaskTest, LabelsFindObjectsAndMasksBelongToObjects) {
  for (const TaskTraits& traits : kTasks) {
    EXPECT_EQ(traits.has_labels, traits.has_objects) << traits.name;
    EXPECT_TRUE(traits.has_objects || !traits.has_masks) << traits.name;
    EXPECT_EQ(traits.has_labels, traits.placeholder == "{labels}") << traits.name;
  }
}

}  // namespace
}  // namespace paligemma
