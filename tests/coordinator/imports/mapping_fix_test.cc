#include "coordinator/imports/mapping_fix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "coordinator/api/manifest.h"
#include "coordinator/imports/validation_parts.h"
#include "tests/coordinator/imports/random_scene.h"

// The YAML that findings propose: pasted into the import, it is taken and mends what it is for.
namespace vmferry::imports {
namespace {

using scenes::RandomScene;
using scenes::Scene;
using ::testing::HasSubstr;

// The mappings of a remedy; nothing where it holds no YAML.
std::optional<api::Mappings> pasted(const std::string& remedy, ProviderKind provider) {
  const std::size_t start = remedy.find(":\n");
  if (start == remedy.npos) return std::nullopt;
  std::string text = fmt::format(
      "apiVersion: v2v.kubevirt.io/v1beta1\nkind: VirtualMachineImport\nmetadata: {{name: i}}\n"
      "spec:\n  providerCredentialsSecret: {{name: s}}\n  source:\n    {}:\n"
      "      vm: {{id: x}}\n      mappings:\n",
      to_string(provider));
  std::istringstream lines(remedy.substr(start + 2));
  for (std::string line; std::getline(lines, line);) text += "        " + line + "\n";
  const auto objects = api::parse_manifests(text, "remedy", "ns");
  EXPECT_TRUE(objects) << to_string(objects.error()) << "\n" << text;
  if (!objects) return std::nullopt;
  const auto import = api::parse_import(objects->front().object);
  EXPECT_TRUE(import) << to_string(import.error()) << "\n" << text;
  if (!import) return std::nullopt;
  return provider == ProviderKind::Ovirt ? import->spec.ovirt->mappings
                                         : import->spec.vmware->mappings;
}

// As a person does it: in place of the item with the same source, else added.
template <typename Item>
void paste(const std::optional<std::vector<Item>>& items, std::optional<std::vector<Item>>& into) {
  if (!items) return;
  if (!into) into.emplace();
  for (const Item& item : *items) {
    const auto same = std::ranges::find(*into, item.source, &Item::source);
    if (same == into->end()) {
      into->push_back(item);
    } else {
      *same = item;
    }
  }
}

bool concerns_mapping(const Finding& finding) {
  return finding.rule.find("network.") != finding.rule.npos ||
         finding.rule.find("storage.target") != finding.rule.npos ||
         finding.rule.find("disk.target") != finding.rule.npos ||
         finding.rule.starts_with("request.mapping");
}

TEST(MappingFixTest, PastingWhatIsProposedMendsTheImport) {
  unsigned pastes = 0, mended = 0;
  for (unsigned seed = 0; seed < 1500; ++seed) {
    SCOPED_TRACE(seed);
    RandomScene random(seed);
    Scene s = random.scene();
    const auto before = s.decide();
    ASSERT_TRUE(before);
    // What no mapping can mend: a choice that the user has made, and names that oVirt never gives.
    if (std::ranges::any_of(before->findings, [](const Finding& finding) {
          return finding.rule.ends_with("network.type");
        })) {
      continue;
    }
    auto& section = RandomScene::section(s);
    api::Mappings own = section.mappings.value_or(api::Mappings());
    for (const Finding& finding : before->findings) {
      if (!concerns_mapping(finding)) continue;
      const auto items = pasted(finding.remedy, s.vm.provider);
      if (!items) continue;
      paste(items->networks, own.networks);
      paste(items->storage, own.storage);
      paste(items->disks, own.disks);
      ++pastes;
    }
    section.mappings = own;
    s.mappings = merge_mappings(section.mappings, random.external());
    const auto after = s.decide();
    ASSERT_TRUE(after);
    bool blocked = false;
    for (const Finding& finding : after->findings) {
      if (!concerns_mapping(finding) || finding.level != FindingLevel::Block) continue;
      blocked = true;
      ADD_FAILURE() << finding.rule << ": " << finding.text << "\n" << finding.remedy;
    }
    mended += !blocked;
    if (::testing::Test::HasFailure()) break;
  }
  EXPECT_GT(pastes, 1000u);
  EXPECT_GT(mended, 1000u);
}

SourceNic nic(const std::string& name, std::vector<std::string> ids,
              std::vector<std::string> names) {
  SourceNic one;
  one.name = name;
  one.network_ids = std::move(ids);
  one.network_names = std::move(names);
  return one;
}

TEST(MappingFixTest, NicsOfOneNetworkDoNotGetThePodNetwork) {
  SourceVm vm;
  vm.nics = {nic("1", {"network-7"}, {"VM Network"}), nic("2", {"network-7"}, {"VM Network"}),
             nic("3", {"network-8"}, {"Other"})};
  EXPECT_EQ(to_yaml(vm.provider, fix_unmapped(vm, {}, imported_nics(vm), "ns")),
            "add to spec.source.vmware.mappings:\n"
            "networkMappings:\n"
            "- source: {name: \"VM Network\"}\n"
            "  target: {name: \"NETWORK-ATTACHMENT\"}\n"
            "  type: multus\n"
            "- source: {name: \"Other\"}\n"
            "  target: {name: pod}\n"
            "  type: pod");
}

TEST(MappingFixTest, NetworksOfOneNameAreToldApartByTheirIds) {
  SourceVm vm;
  vm.nics = {nic("1", {"dvportgroup-1"}, {"prod"}), nic("2", {"dvportgroup-2"}, {"prod"})};
  EXPECT_THAT(to_yaml(vm.provider, fix_unmapped(vm, {}, imported_nics(vm), "ns")),
              HasSubstr("- source: {id: \"dvportgroup-1\"}\n  target: {name: pod}\n  type: pod\n"
                        "- source: {id: \"dvportgroup-2\"}"));
}

TEST(MappingFixTest, SeveralOnThePodNetworkKeepOneThatCanBeToldApart) {
  SourceVm vm;
  vm.nics = {nic("1", {"a"}, {"A"}), nic("2", {"a"}, {"A"}), nic("3", {"b"}, {"B"})};
  api::NetworkMappingItem a, b;
  a.source.name = "A";
  b.source.id = "b";
  const api::Mappings mappings{{{a, b}}, {}, {}};
  const MappingFix fix = fix_pod(mappings, imported_nics(vm));
  ASSERT_EQ(fix.networks.size(), 1u);
  EXPECT_EQ(fix.networks[0].source, a.source);
  EXPECT_THAT(to_yaml(vm.provider, fix), HasSubstr("in place of items with the same source"));
}

TEST(MappingFixTest, StoragesAndDisksOfOneNameAreToldApartByTheirIds) {
  SourceVm vm;
  vm.disks = {{.id = "d1", .name = "disk", .storage_id = "s1", .storage_name = "ds"},
              {.id = "d2", .name = "disk", .storage_id = "s2", .storage_name = "ds"},
              {.id = "d3", .name = "disk"},
              {.id = "d4", .name = "own"}};
  const MappingFix fix =
      fix_storage(vm, {}, {&vm.disks[0], &vm.disks[1], &vm.disks[2], &vm.disks[3]}, "fast");
  ASSERT_EQ(fix.storage.size(), 2u);
  EXPECT_EQ(fix.storage[0].source.id, "s1");
  EXPECT_EQ(fix.storage[1].source.id, "s2");
  ASSERT_EQ(fix.disks.size(), 2u);
  EXPECT_EQ(fix.disks[0].source.id, "d3");
  EXPECT_EQ(fix.disks[1].source.name, "own");
  EXPECT_FALSE(fix.replaces);
}

TEST(MappingFixTest, AnItemThatServesKeepsItsModes) {
  SourceVm vm;
  vm.disks = {{.id = "d1", .name = "disk"}};
  api::StorageMappingItem item;
  item.source.id = "d1";
  item.target.name = "missing";
  item.volume_mode = "Block";
  item.access_mode = "ReadWriteMany";
  EXPECT_EQ(to_yaml(vm.provider, fix_storage(vm, {{}, {}, {{item}}}, {&vm.disks[0]}, "fast")),
            "put into spec.source.vmware.mappings, in place of items with the same source:\n"
            "diskMappings:\n"
            "- source: {id: \"d1\"}\n"
            "  target: {name: \"fast\"}\n"
            "  volumeMode: \"Block\"\n"
            "  accessMode: \"ReadWriteMany\"");
}

}  // namespace
}  // namespace vmferry::imports
