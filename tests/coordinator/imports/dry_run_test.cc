#include "coordinator/imports/dry_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/bytes.h"
#include "coordinator/imports/mapping.h"

// Cases name only the fields that they are about.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

namespace vmferry::imports {
namespace {

using nlohmann::json;
using testing::HasSubstr;

api::VirtualMachineImport import_with(std::optional<api::Mappings> own, bool external = false) {
  api::VirtualMachineImport import;
  import.object = kube::Object(json{{ "metadata", { {"name", "web"}, { "namespace", "ns" } } }});
  import.spec.vmware = api::SourceSection{.vm_name = "web", .mappings = std::move(own)};
  if (external) import.spec.resource_mapping = api::ObjectIdentifier{.name = "shared"};
  return import;
}

api::StorageMappingItem storage(const std::string& name, const std::string& target) {
  api::StorageMappingItem item;
  item.source.name = name;
  item.target.name = target;
  return item;
}

api::NetworkMappingItem network(const std::string& name, const std::string& target,
                                const std::string& type) {
  api::NetworkMappingItem item;
  item.source.name = name;
  item.target.name = target;
  item.type = type;
  return item;
}

SourceVm source() {
  SourceVm vm;
  vm.provider = ProviderKind::Vmware;
  vm.name = "web";
  for (int i = 1; i <= 3; ++i) {
    SourceDisk disk;
    disk.id = fmt::format("d{}", i);
    disk.name = fmt::format("Hard disk {}", i);
    disk.size_bytes = 10 * kGiB;
    disk.storage_name = fmt::format("ds{}", i);
    if (i < 3) disk.allocated_bytes = 2 * kGiB;
    vm.disks.push_back(disk);
  }
  for (const char* name : {"VM Network", "vlan7"}) {
    SourceNic nic;
    nic.name = fmt::format("Network adapter {}", vm.nics.size() + 1);
    nic.network_names = {name};
    nic.attachment = NicAttachment::Standard;
    vm.nics.push_back(nic);
  }
  return vm;
}

ClusterFacts facts() {
  ClusterFacts facts;
  facts.storage_classes["standard"] = kube::Object(json{
      {"metadata", {{"annotations", {{"storageclass.kubernetes.io/is-default-class", "true"}}}}}});
  facts.storage_classes["fast"] = kube::Object(json::object());
  return facts;
}

DryRun explain(const api::VirtualMachineImport& import,
               const std::optional<api::Mappings>& external, std::vector<Finding> findings = {}) {
  const SourceVm vm = source();
  const api::Mappings merged = merge_mappings(import.spec.vmware->mappings, external);
  return dry_run({.import = import,
                  .findings = std::move(findings),
                  .unknown_why = {},
                  .source = vm,
                  .mappings = merged,
                  .facts = facts(),
                  .vm_name = "web",
                  .disks = plan_disks("uid", vm, merged, facts()),
                  .bytes_per_second = 100.0 * kMiB});
}

TEST(DryRunTest, TellsWhichItemChoseEachDisksTarget) {
  api::Mappings own;
  own.storage = {storage("ds1", "fast")};
  own.disks = {storage("Hard disk 3", "fast")};
  api::Mappings external;
  external.storage = {storage("ds1", "standard"), storage("ds2", "fast"), storage("ds3", "")};
  const DryRun run = explain(import_with(own, true), external);
  ASSERT_EQ(run.disks.size(), 3u);
  EXPECT_EQ(run.disks[0].why, "the import's storageMappings, name 'ds1'");
  EXPECT_EQ(run.disks[0].effective_class, "fast");
  EXPECT_EQ(run.disks[1].why, "ResourceMapping ns/shared's storageMappings, name 'ds2'");
  EXPECT_EQ(run.disks[2].why, "the import's diskMappings, name 'Hard disk 3'");
}

TEST(DryRunTest, NamesTheDefaultClassAndWhyItIsTaken) {
  api::Mappings own;
  own.storage = {storage("ds1", "")};
  const DryRun run = explain(import_with(own), {});
  EXPECT_EQ(run.disks[0].effective_class, "standard");
  EXPECT_THAT(run.disks[0].why, HasSubstr("asks for the default class"));
  EXPECT_EQ(run.disks[1].effective_class, "standard");
  EXPECT_EQ(run.disks[1].why, "no mapping fits: the default class");
}

TEST(DryRunTest, TellsWhereEachNicGoesAndWhichItemSaysSo) {
  api::Mappings own;
  own.networks = {network("VM Network", "pod", "pod")};
  api::Mappings external;
  external.networks = {network("vlan7", "vlan7", "multus")};
  const DryRun run = explain(import_with(own, true), external);
  ASSERT_EQ(run.nics.size(), 2u);
  EXPECT_EQ(run.nics[0].target, "pod network");
  EXPECT_EQ(run.nics[0].why, "the import's networkMappings, name 'VM Network'");
  EXPECT_EQ(run.nics[1].target, "multus ns/vlan7");
  EXPECT_EQ(run.nics[1].why, "ResourceMapping ns/shared's networkMappings, name 'vlan7'");

  const DryRun bare = explain(import_with(std::nullopt), {});
  EXPECT_EQ(bare.nics[0].target, "");
  EXPECT_EQ(bare.nics[0].why, "no network mapping fits");
}

TEST(DryRunTest, EstimatesWithWhatIsAllocatedAndCountsOtherDisksWhole) {
  const DryRun run = explain(import_with(std::nullopt), {});
  EXPECT_EQ(run.estimate.virtual_bytes, 30 * kGiB);
  EXPECT_EQ(run.estimate.to_copy_bytes, 14 * kGiB);
  EXPECT_FALSE(run.estimate.all_known);
  EXPECT_NEAR(run.estimate.seconds, 143.4, 0.1);
}

TEST(DryRunTest, TheVerdictFollowsTheWorstThatIsKnown) {
  const auto finding = [](FindingLevel level) {
    return Finding{"rule", level, FindingGroup::Rules, "text", ""};
  };
  struct Case {
    std::vector<Finding> findings;
    const char* unknown_why;
    Verdict verdict;
  };
  const Case cases[] = {
      {{}, "", Verdict::Runs},
      {{finding(FindingLevel::Warn), finding(FindingLevel::Log)}, "", Verdict::Runs},
      {{finding(FindingLevel::Warn), finding(FindingLevel::Block)}, "", Verdict::Blocked},
      {{}, "no answer", Verdict::Unknown},
      {{finding(FindingLevel::Block)}, "no answer", Verdict::Blocked},
  };
  const api::VirtualMachineImport import = import_with(std::nullopt);
  for (const Case& c : cases) {
    const DryRun run =
        dry_run({.import = import, .findings = c.findings, .unknown_why = c.unknown_why});
    EXPECT_EQ(run.verdict, c.verdict);
    if (c.findings.size() > 1) {
      EXPECT_GE(run.findings[0].level, run.findings[1].level);
    }
  }
}

TEST(DryRunTest, JsonHoldsEverything) {
  const json tree = to_json(
      explain(import_with(std::nullopt), {},
              {{"vm.usb", FindingLevel::Warn, FindingGroup::Rules, "usb is on", "switch it off"}}));
  EXPECT_EQ(tree.at("import"), "ns/web");
  EXPECT_EQ(tree.at("verdict"), "would run");
  EXPECT_EQ(tree.at("findings").at(0).at("rule"), "vm.usb");
  EXPECT_EQ(tree.at("findings").at(0).at("remedy"), "switch it off");
  EXPECT_EQ(tree.at("disks").size(), 3u);
  EXPECT_EQ(tree.at("disks").at(2).at("allocatedBytes"), nullptr);
  EXPECT_EQ(tree.at("networks").size(), 2u);
  EXPECT_EQ(tree.at("estimate").at("toCopyBytes"), 14 * kGiB);
}

}  // namespace
}  // namespace vmferry::imports
