#include "coordinator/imports/mapping.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

// Cases name only the fields that they are about.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

namespace vmferry::imports {
namespace {

using api::Mappings;
using api::NetworkMappingItem;
using api::StorageMappingItem;
using Items = std::optional<std::vector<NetworkMappingItem>>;

// "1/n1 t1, -/n4, -/-": id, name and type of each item; "absent"; "" is an empty list.
Items items_of(std::string text) {
  if (text == "absent") return std::nullopt;
  std::vector<NetworkMappingItem> items;
  while (!text.empty()) {
    const std::size_t comma = text.find(", ");
    std::string one = text.substr(0, comma);
    text = comma == std::string::npos ? "" : text.substr(comma + 2);
    NetworkMappingItem item;
    if (const std::size_t blank = one.find(' '); blank != std::string::npos) {
      item.type = one.substr(blank + 1);
      one.resize(blank);
    }
    const std::size_t slash = one.find('/');
    if (one.substr(0, slash) != "-") item.source.id = one.substr(0, slash);
    if (one.substr(slash + 1) != "-") item.source.name = one.substr(slash + 1);
    items.push_back(item);
  }
  return items;
}

struct MergeCase {
  const char *id, *in_cr, *external, *expected;
};

// The expected lists stand in our order: in-CR items, then external ones as they were.
constexpr MergeCase kMergeCases[] = {
    {"OV-90", "absent", "absent", "absent"},
    {"OV-91", "absent", "1/n1", "1/n1"},
    {"OV-92", "1/n1", "absent", "1/n1"},
    {"OV-93", "", "", ""},
    {"OV-94", "", "1/n1", "1/n1"},
    {"OV-95", "1/n1", "", "1/n1"},
    {"OV-96", "-/-", "", ""},
    {"OV-97", "", "-/-", ""},
    {"OV-98", "-/-, 1/n1", "", "1/n1"},
    {"OV-99", "1/n1", "2/n2", "1/n1, 2/n2"},
    {"OV-100", "1/-", "2/-", "1/-, 2/-"},
    {"OV-101", "-/n1", "-/n2", "-/n1, -/n2"},
    {"OV-102", "1/-", "-/n2", "1/-, -/n2"},
    {"OV-103", "-/n1", "2/-", "-/n1, 2/-"},
    {"OV-104", "1/n1 t1", "1/n1 t2", "1/n1 t1"},
    {"OV-105", "1/- t1", "1/- t2", "1/- t1"},
    {"OV-106", "-/n1 t1", "-/n1 t2", "-/n1 t1"},
    {"OV-107", "1/n1 t1", "-/n1 t2", "1/n1 t1"},
    {"OV-108", "1/n1 t1, 2/n2 t1", "2/n2 t2", "1/n1 t1, 2/n2 t1"},
    {"OV-109", "2/n2 t1", "1/n1 t2, 2/n2 t2", "2/n2 t1, 1/n1 t2"},
    {"OV-110", "1/n1, 3/n3", "1/n2", "1/n1, 3/n3"},
    {"OV-111", "1/n1", "1/n2, 3/n3", "1/n1, 3/n3"},
    {"OV-112", "1/n1, 3/n3", "2/n1", "1/n1, 3/n3, 2/n1"},
    {"OV-113", "1/n1 t1", "2/n1 t2, 3/n3", "1/n1 t1, 2/n1 t2, 3/n3"},
    {"OV-114", "1/n1 t1, 3/- t1, -/n4 t1, -/- t1", "1/n2 t2, 2/n1 t2, 3/n3 t2, 4/- t2, -/- t2",
     "1/n1 t1, 3/- t1, -/n4 t1, 2/n1 t2, 4/- t2"},
};

// The same items as storage mappings: what is a type there is a target's name here.
std::optional<std::vector<StorageMappingItem>> storage_items_of(const std::string& text) {
  const Items networks = items_of(text);
  if (!networks) return std::nullopt;
  std::vector<StorageMappingItem> items;
  for (const NetworkMappingItem& network : *networks) {
    StorageMappingItem item;
    item.source = network.source;
    item.target.name = network.type.value_or("");
    items.push_back(item);
  }
  return items;
}

TEST(MergeMappingsTest, MergesNetworksAndStorageAlike) {
  for (const MergeCase& c : kMergeCases) {
    SCOPED_TRACE(c.id);
    const Mappings own{.networks = {}, .storage = storage_items_of(c.in_cr), .disks = {}};
    const Mappings others{.networks = {}, .storage = storage_items_of(c.external), .disks = {}};
    EXPECT_EQ(merge_mappings(own, others).storage, storage_items_of(c.expected));
    const Mappings in_cr{.networks = items_of(c.in_cr), .storage = {}, .disks = {}};
    const Mappings external{.networks = items_of(c.external), .storage = {}, .disks = {}};
    EXPECT_EQ(merge_mappings(in_cr, external).networks, items_of(c.expected));
  }
}

// OV-114's result as a set does not depend on the order of either list.
TEST(MergeMappingsTest, OrderOfInputsDoesNotChangeTheSet) {
  const auto by_text = [](const NetworkMappingItem& a, const NetworkMappingItem& b) {
    return std::tie(a.source.id, a.source.name) < std::tie(b.source.id, b.source.name);
  };
  std::mt19937 random(3);
  for (const MergeCase& c : kMergeCases) {
    SCOPED_TRACE(c.id);
    Items in_cr = items_of(c.in_cr), external = items_of(c.external),
          expected = items_of(c.expected);
    if (!in_cr || !external) continue;
    std::sort(expected->begin(), expected->end(), by_text);
    for (int i = 0; i < 20; ++i) {
      std::shuffle(in_cr->begin(), in_cr->end(), random);
      std::shuffle(external->begin(), external->end(), random);
      Items merged = merge_mappings(Mappings{in_cr, {}, {}}, Mappings{external, {}, {}}).networks;
      std::sort(merged->begin(), merged->end(), by_text);
      EXPECT_EQ(merged, expected);
    }
  }
}

StorageMappingItem storage_item(std::optional<std::string> id, std::optional<std::string> name,
                                std::string target) {
  StorageMappingItem item;
  item.source = {std::move(id), std::move(name)};
  item.target.name = std::move(target);
  return item;
}

TEST(MergeMappingsTest, Ov115KeepsListsOfDifferentKinds) {
  const Mappings merged = merge_mappings(Mappings{items_of("1/n1"), {}, {}},
                                         Mappings{{}, {{storage_item("d", {}, "a")}}, {}});
  EXPECT_TRUE(merged.networks && merged.storage);
}

TEST(MergeMappingsTest, Ov116AndVw32DropsExternalDiskMappings) {
  const Mappings external{{}, {}, {{storage_item("d", {}, "a")}}};
  EXPECT_FALSE(merge_mappings(std::nullopt, external).disks);
  EXPECT_FALSE(merge_mappings(Mappings{}, external).disks);
}

TEST(MergeMappingsTest, Ov117TreatsAMissingSectionAsAbsent) {
  EXPECT_EQ(merge_mappings(Mappings{items_of("1/n1"), {}, {}}, std::nullopt).networks,
            items_of("1/n1"));
}

struct StorageCase {
  const char* id;
  bool migratable, read_only;
  Mappings mappings;
  StorageChoice expected;
};

TEST(ResolveStorageTest, ChoosesClassAndModes) {
  StorageMappingItem full = storage_item("disk-ID", {}, "fast");
  full.volume_mode = "Block";
  full.access_mode = "ReadWriteOnce";
  StorageMappingItem forced = storage_item({}, "alias", "");
  forced.volume_mode = "Block";
  const StorageMappingItem domain = storage_item("dom-1", {}, "slow");
  const StorageMappingItem wrong = storage_item("other", "other", "slow");
  const StorageCase cases[] = {
      {"OV-70",
       true,
       false,
       {{}, {{domain}}, {}},
       {MappedBy::Storage, "slow", "Filesystem", "ReadWriteMany"}},
      {"OV-73, OV-80",
       true,
       false,
       {{}, {}, {{full}}},
       {MappedBy::Disk, "fast", "Block", "ReadWriteOnce"}},
      {"OV-74",
       false,
       false,
       {{}, {{domain}}, {{forced}}},
       {MappedBy::Disk, "", "Block", "ReadWriteOnce"}},
      {"OV-75",
       false,
       false,
       {{}, {{storage_item({}, "mystoragedomain", "")}}, {}},
       {MappedBy::Storage, "", "Filesystem", "ReadWriteOnce"}},
      {"OV-76, OV-77",
       false,
       false,
       {{}, {{wrong}}, {}},
       {MappedBy::Nothing, "", "Filesystem", "ReadWriteOnce"}},
      {"OV-78", true, true, {}, {MappedBy::Nothing, "", "Filesystem", "ReadWriteMany"}},
      {"OV-79", false, true, {}, {MappedBy::Nothing, "", "Filesystem", "ReadOnlyMany"}},
      {"OV-83, VAL-107",
       false,
       false,
       {{}, {{domain}}, {{full}}},
       {MappedBy::Disk, "fast", "Block", "ReadWriteOnce"}},
      {"empty selectors match nothing",
       false,
       false,
       {{}, {{storage_item("", "", "slow")}}, {}},
       {MappedBy::Nothing, "", "Filesystem", "ReadWriteOnce"}},
  };
  for (const StorageCase& c : cases) {
    SCOPED_TRACE(c.id);
    SourceVm vm{.provider = ProviderKind::Ovirt};
    vm.live_migratable = c.migratable;
    const SourceDisk disk{.id = "disk-ID",
                          .name = "alias",
                          .storage_id = "dom-1",
                          .storage_name = "mystoragedomain",
                          .read_only = c.read_only};
    EXPECT_EQ(resolve_storage(c.mappings, vm, disk), c.expected);
  }
}

TEST(ResolveStorageTest, Ov118AndVw33TheImportsItemWins) {
  const Mappings merged =
      merge_mappings(Mappings{{}, {{storage_item({}, "ds", "right")}}, {}},
                     Mappings{{}, {{storage_item("datastore-1", {}, "wrong")}}, {}});
  ASSERT_EQ(merged.storage->size(), 2u);
  const SourceDisk disk{.id = "421-2000", .storage_id = "datastore-1", .storage_name = "ds"};
  EXPECT_EQ(resolve_storage(merged, SourceVm{}, disk).storage_class, "right");
}

TEST(ResolveStorageTest, Vw31MapsByDatastoreNameAndReference) {
  const SourceDisk disk{.id = "1", .storage_id = "datastore-13", .storage_name = "LocalDS_0"};
  EXPECT_EQ(
      resolve_storage({{}, {{storage_item({}, "LocalDS_0", "a")}}, {}}, {}, disk).storage_class,
      "a");
  EXPECT_EQ(
      resolve_storage({{}, {{storage_item("datastore-13", {}, "a")}}, {}}, {}, disk).storage_class,
      "a");
}

NetworkMappingItem network_item(std::optional<std::string> id, std::optional<std::string> name,
                                std::string target, std::optional<std::string> type,
                                std::optional<std::string> ns = {}) {
  NetworkMappingItem item;
  item.source = {std::move(id), std::move(name)};
  item.target = {std::move(target), std::move(ns)};
  item.type = std::move(type);
  return item;
}

SourceNic nic_on(std::string id, std::string name) {
  SourceNic nic;
  nic.network_ids = {std::move(id)};
  nic.network_names = {std::move(name)};
  return nic;
}

TEST(ResolveNetworkTest, FirstMatchWins) {  // VW-27
  const Mappings mappings{
      {{network_item({}, "n", "net-attach-def", "multus"), network_item("1", {}, "", "pod")}},
      {},
      {}};
  const auto choice = resolve_network(mappings, nic_on("1", "n"), "ns");
  ASSERT_TRUE(choice);
  EXPECT_TRUE(choice->multus);
  EXPECT_EQ(choice->network_name, "net-attach-def");
  EXPECT_EQ(choice->attachment, (kube::ObjectKey{"ns", "net-attach-def"}));
}

TEST(ResolveNetworkTest, AnItemOfAnotherIdYieldsToAFittingOne) {
  const Mappings mappings{
      {{network_item("1", "n", "a", "multus"), network_item("2", "n", "b", "multus")}}, {}, {}};
  EXPECT_EQ(resolve_network(mappings, nic_on("2", "n"), "ns")->network_name, "b");
  EXPECT_EQ(resolve_network(mappings, nic_on("3", "n"), "ns")->network_name, "a");
}

TEST(ResolveNetworkTest, Ov61Ov67WritesNamespaces) {
  SourceNic nic = nic_on("1", "n");
  const Mappings elsewhere{{{network_item("1", {}, "nad", "multus", "other")}}, {}, {}};
  EXPECT_EQ(resolve_network(elsewhere, nic, "ns")->network_name, "other/nad");
  nic.sriov = true;
  const Mappings here{{{network_item("1", {}, "nad", "multus")}}, {}, {}};
  EXPECT_EQ(resolve_network(here, nic, "ns")->network_name, "ns/nad");
}

// Whatever the items, there is at most one answer, it is an item of the list that matches, and an
// item that fits by id is never passed over for one that only shares a name.
TEST(ResolveNetworkTest, PrecedenceIsTotal) {
  std::mt19937 random(11);
  std::uniform_int_distribution<int> digit(0, 3);
  for (int round = 0; round < 2000; ++round) {
    std::vector<NetworkMappingItem> items;
    for (int i = 0; i < 5; ++i) {
      const auto part = [&](const char* prefix) -> std::optional<std::string> {
        const int n = digit(random);
        return n == 0 ? std::nullopt : std::optional(prefix + std::to_string(n));
      };
      items.push_back(network_item(part("i"), part("n"), "t" + std::to_string(i), "multus"));
    }
    const Mappings mappings{items, {}, {}};
    const auto choice = resolve_network(mappings, nic_on("i1", "n1"), "ns");
    const bool any = std::ranges::any_of(items, [](const NetworkMappingItem& item) {
      return item.source.id == "i1" || item.source.name == "n1";
    });
    ASSERT_EQ(choice.has_value(), any);
    EXPECT_EQ(choice, resolve_network(mappings, nic_on("i1", "n1"), "ns"));
    if (!choice) continue;
    const NetworkMappingItem& taken =
        items[static_cast<std::size_t>(choice->network_name[1] - '0')];
    EXPECT_TRUE(taken.source.id == "i1" || taken.source.name == "n1");
    if (taken.source.id && *taken.source.id != "i1") {
      EXPECT_TRUE(
          std::ranges::none_of(items, [](const auto& item) { return item.source.id == "i1"; }));
    }
  }
}

}  // namespace
}  // namespace vmferry::imports
