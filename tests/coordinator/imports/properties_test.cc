#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "coordinator/imports/mapping.h"
#include "coordinator/imports/validation_parts.h"
#include "tests/coordinator/imports/random_scene.h"

// What holds for every import, source and cluster.
namespace vmferry::imports {
namespace {

using nlohmann::json;
using scenes::RandomScene;
using scenes::Scene;

constexpr unsigned kRounds = 500;

ImportDecision decided(const Scene& s) {
  auto decision = s.decide();
  EXPECT_TRUE(decision) << to_string(decision.error());
  return *std::move(decision);
}

void expect_same(const ImportDecision& a, const ImportDecision& b) {
  EXPECT_EQ(a.vm ? a.vm->json() : json(), b.vm ? b.vm->json() : json());
  EXPECT_EQ(a.vm_name, b.vm_name);
  EXPECT_EQ(a.disks, b.disks);
  const auto by_text = [](const Finding& x, const Finding& y) {
    return std::tie(x.rule, x.text, x.remedy) < std::tie(y.rule, y.text, y.remedy);
  };
  auto left = a.findings, right = b.findings;
  std::ranges::sort(left, by_text);
  std::ranges::sort(right, by_text);
  EXPECT_EQ(left, right);
}

TEST(PropertiesTest, DecidingIsDeterministic) {
  for (unsigned seed = 0; seed < kRounds; ++seed) {
    SCOPED_TRACE(seed);
    const Scene s = RandomScene(seed).scene();
    const ImportDecision once = decided(s), again = decided(s);
    expect_same(once, again);
    EXPECT_EQ(once.findings, again.findings);
  }
}

std::vector<kube::Object> many_templates() {
  std::vector<kube::Object> templates = builtin_templates();
  const std::size_t builtin = templates.size();
  for (std::size_t i = 0; i < builtin; ++i) {
    for (const char* name : {"b", "a"}) {
      kube::Object copy = templates[i];
      copy.json()["metadata"]["name"] = copy.name() + "-" + name;
      copy.json()["metadata"]["namespace"] = "openshift";
      templates.push_back(copy);
    }
  }
  return templates;
}

// Whether two items of one list may serve one source: then their order is the user's choice.
template <typename Item>
bool overlap(const std::optional<std::vector<Item>>& items, const SourceVm& vm) {
  if (!items) return false;
  const auto matches = [](const api::Selector& source, const std::vector<std::string>& ids,
                          const std::vector<std::string>& names) {
    return (source.id && std::ranges::count(ids, *source.id) > 0) ||
           (source.name && std::ranges::count(names, *source.name) > 0);
  };
  const auto count = [&](const std::vector<std::string>& ids,
                         const std::vector<std::string>& names) {
    return std::ranges::count_if(
        *items, [&](const Item& item) { return matches(item.source, ids, names); });
  };
  for (const SourceNic& nic : vm.nics) {
    if (count(nic.network_ids, nic.network_names) > 1) return true;
  }
  for (const SourceDisk& disk : vm.disks) {
    if (count({disk.id}, {disk.name}) > 1) return true;
    if (count({disk.storage_id}, {disk.storage_name}) > 1) return true;
  }
  return false;
}

TEST(PropertiesTest, OrderOfInputsDoesNotMatter) {
  const std::vector<kube::Object> templates = many_templates();
  unsigned shuffled_lists = 0;
  for (unsigned seed = 0; seed < kRounds; ++seed) {
    SCOPED_TRACE(seed);
    RandomScene random(seed);
    Scene s = random.scene();
    s.facts.templates = templates;
    Scene other = s;
    std::ranges::shuffle(other.facts.templates, random.engine());
    const auto shuffle = [&](auto& list) {
      if (!list || overlap(list, s.vm)) return;
      std::ranges::shuffle(*list, random.engine());
      ++shuffled_lists;
    };
    shuffle(other.mappings.networks);
    shuffle(other.mappings.storage);
    shuffle(other.mappings.disks);
    expect_same(decided(s), decided(other));
  }
  EXPECT_GT(shuffled_lists, kRounds);
}

bool is_label_value(const std::string& value) {
  const auto alnum = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  return value.size() <= 63 && (value.empty() || (alnum(value.front()) && alnum(value.back()))) &&
         std::ranges::all_of(value,
                             [&](char c) { return alnum(c) || c == '-' || c == '_' || c == '.'; });
}

void expect_valid_labels(const json& labels) {
  for (const auto& [key, value] : labels.items()) {
    EXPECT_TRUE(is_label_value(value.get<std::string>())) << key << "=" << value;
    const std::size_t slash = key.find('/');
    const std::string name = slash == key.npos ? key : key.substr(slash + 1);
    EXPECT_TRUE(!name.empty() && is_label_value(name)) << key;
    if (slash != key.npos) {
      EXPECT_TRUE(is_dns1123_subdomain(key.substr(0, slash))) << key;
    }
  }
}

TEST(PropertiesTest, NamesAreAlwaysValidAndTellThingsApart) {
  unsigned built = 0;
  for (unsigned seed = 0; seed < kRounds; ++seed) {
    SCOPED_TRACE(seed);
    const Scene s = RandomScene(seed).scene();
    const ImportDecision decision = decided(s);
    std::set<std::string> claims;
    for (const PlannedDisk& disk : decision.disks) {
      EXPECT_TRUE(is_dns1123_subdomain(disk.claim)) << disk.claim;
      EXPECT_TRUE(claims.insert(disk.claim).second) << disk.claim;
    }
    if (decision.base) EXPECT_EQ(decision.vm_name.empty(), !decision.vm.has_value());
    if (!decision.vm) continue;
    ++built;
    const json& vm = decision.vm->json();
    EXPECT_TRUE(is_dns1123_label(decision.vm->name())) << decision.vm->name();
    const json& spec = vm.at("/spec/template/spec"_json_pointer);
    if (spec.contains("hostname")) {
      EXPECT_TRUE(is_dns1123_label(spec["hostname"].get<std::string>())) << spec["hostname"];
    }
    expect_valid_labels(vm.at("/metadata/labels"_json_pointer));
    expect_valid_labels(vm.at("/spec/template/metadata/labels"_json_pointer));
    const json& devices = spec.at("domain").at("devices");
    // Interfaces pair with networks and disks with volumes, by name, in the same order.
    for (const auto& [left, right] : {std::pair(&devices["interfaces"], &spec["networks"]),
                                      std::pair(&devices["disks"], &spec["volumes"])}) {
      ASSERT_EQ(left->size(), right->size());
      std::set<std::string> names;
      for (std::size_t i = 0; i < left->size(); ++i) {
        const std::string name = (*left)[i]["name"];
        EXPECT_EQ((*right)[i]["name"], name);
        EXPECT_TRUE(is_dns1123_label(name)) << name;
        EXPECT_TRUE(names.insert(name).second) << name;
      }
    }
  }
  EXPECT_GT(built, kRounds / 2);
}

TEST(PropertiesTest, WhatIsBuiltIsTheSourcesAndWhole) {
  for (unsigned seed = 0; seed < kRounds; ++seed) {
    SCOPED_TRACE(seed);
    const Scene s = RandomScene(seed).scene();
    const ImportDecision decision = decided(s);
    if (!decision.vm) continue;
    const json& vm = decision.vm->json();
    EXPECT_EQ(vm["spec"]["runStrategy"], "Halted");
    EXPECT_FALSE(vm["spec"].contains("running") || vm["spec"].contains("dataVolumeTemplates"));
    const json& domain = vm.at("/spec/template/spec/domain"_json_pointer);
    if (s.vm.memory_bytes > 0) {
      EXPECT_EQ(domain["memory"]["guest"], format_quantity(s.vm.memory_bytes));
    }
    EXPECT_EQ(domain["devices"]["disks"].size(), s.vm.disks.size());
    std::set<int> orders;
    for (const char* list : {"disks", "interfaces"}) {
      for (const json& device : domain["devices"][list]) {
        if (device.contains("bootOrder")) {
          EXPECT_TRUE(orders.insert(device["bootOrder"].get<int>()).second);
        }
      }
    }
    if (!orders.empty()) {
      EXPECT_EQ(*orders.begin(), 1);
      EXPECT_EQ(*orders.rbegin(), static_cast<int>(orders.size()));
    }
  }
}

bool has(const std::vector<std::string>& list, const std::optional<std::string>& wanted) {
  return wanted && !wanted->empty() && std::ranges::find(list, *wanted) != list.end();
}

// The rule in words: an item fits that has the id, or has the name and no id. The first of the
// import's own that fits serves; else the first of the merged list; where none fits, one with the
// name and another id.
template <typename Item>
std::vector<Item> allowed(const std::optional<std::vector<Item>>& own,
                          const std::optional<std::vector<Item>>& merged,
                          const std::vector<std::string>& ids,
                          const std::vector<std::string>& names) {
  const auto named = [&](const Item& item) { return has(names, item.source.name); };
  const auto fits = [&](const Item& item) {
    return has(ids, item.source.id) || (named(item) && !item.source.id);
  };
  for (const auto* list : {&own, &merged}) {
    if (!*list) continue;
    const auto first = std::ranges::find_if(**list, fits);
    if (first != (*list)->end()) return {*first};
  }
  std::vector<Item> by_name_alone;
  for (const Item& item : merged.value_or(std::vector<Item>())) {
    if (named(item)) by_name_alone.push_back(item);
  }
  return by_name_alone;
}

TEST(PropertiesTest, PrecedenceIsTotal) {
  unsigned from_shared = 0, forced_default = 0;
  for (unsigned seed = 0; seed < kRounds; ++seed) {
    SCOPED_TRACE(seed);
    RandomScene random(seed);
    Scene s = random.scene();
    const api::Mappings own = RandomScene::section(s).mappings.value_or(api::Mappings());
    for (const SourceNic& nic : s.vm.nics) {
      const auto expected =
          allowed(own.networks, s.mappings.networks, nic.network_ids, nic.network_names);
      const api::NetworkMappingItem* item = network_item(s.mappings, nic);
      ASSERT_EQ(item != nullptr, !expected.empty());
      if (item == nullptr) continue;
      EXPECT_TRUE(std::ranges::find(expected, *item) != expected.end());
      from_shared += !own.networks || std::ranges::count(*own.networks, *item) == 0;
    }
    for (const SourceDisk& disk : s.vm.disks) {
      auto expected = allowed(own.disks, s.mappings.disks, {disk.id}, {disk.name});
      const MappedBy by = expected.empty() ? MappedBy::Storage : MappedBy::Disk;
      if (expected.empty()) {
        expected = allowed(own.storage, s.mappings.storage, {disk.storage_id}, {disk.storage_name});
      }
      const StorageChoice choice = resolve_storage(s.mappings, s.vm, disk);
      EXPECT_EQ(choice.by, expected.empty() ? MappedBy::Nothing : by);
      if (expected.empty()) {
        EXPECT_EQ(choice.storage_class, "");
        continue;
      }
      EXPECT_TRUE(std::ranges::any_of(expected, [&](const api::StorageMappingItem& item) {
        return item.target.name == choice.storage_class;
      }));
      forced_default += choice.storage_class.empty();
    }
  }
  EXPECT_GT(from_shared, 50u);
  EXPECT_GT(forced_default, 50u);
}

}  // namespace
}  // namespace vmferry::imports
