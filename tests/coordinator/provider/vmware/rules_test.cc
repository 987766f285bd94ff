#include "coordinator/provider/vmware/rules.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "coordinator/provider/vmware/translate.h"
#include "tests/coordinator/provider/vmware/recorded.h"

namespace vmferry::vmware {
namespace {

// A VM with nothing to complain about.
VmModel healthy() {
  VmModel vm = two_disk_vm();
  vm.connection_state = "connected";
  return vm;
}

const Finding* find(const std::vector<Finding>& findings, const std::string& rule,
                    FindingLevel level) {
  const auto it = std::ranges::find_if(
      findings, [&](const Finding& f) { return f.rule == rule && f.level == level; });
  return it == findings.end() ? nullptr : &*it;
}

TEST(RulesTest, AHealthyVmRaisesNothing) {
  for (const Finding& finding : find_problems(healthy())) {
    ADD_FAILURE() << finding.rule << ": " << finding.text;
  }
}

TEST(RulesTest, EachPredicateRaisesItsRule) {
  const auto first_disk = [](VmModel& vm) -> Device& { return *device_of(vm, "disk-202-0"); };
  const auto nic = [](VmModel& vm) -> Device& { return *device_of(vm, "ethernet-0"); };
  const auto add_device = [](VmModel& vm, const char* type) {
    Device device;
    device.type = type;
    device.label = "odd";
    vm.devices.push_back(device);
  };
  struct Case {
    std::string name, rule;
    FindingLevel level;
    std::function<void(VmModel&)> change;
    FindingGroup group = FindingGroup::Rules;
  };
  const Case cases[] = {
      {"VAL-134 on without tools", "vmware.vm.tools", FindingLevel::Block,
       [](VmModel& vm) {
         vm.power_state = "poweredOn";
         vm.tools_status = "toolsNotInstalled";
       },
       FindingGroup::Mapping},
      {"on with old tools", "vmware.vm.tools_old", FindingLevel::Warn,
       [](VmModel& vm) {
         vm.power_state = "poweredOn";
         vm.tools_status = "toolsOld";
       }},
      {"VW-58 suspended", "vmware.vm.power_state", FindingLevel::Block,
       [](VmModel& vm) { vm.power_state = "suspended"; }},
      {"template", "vmware.vm.template", FindingLevel::Block,
       [](VmModel& vm) { vm.is_template = true; }},
      {"inaccessible", "vmware.vm.connection_state", FindingLevel::Block,
       [](VmModel& vm) { vm.connection_state = "inaccessible"; }},
      {"question", "vmware.vm.question", FindingLevel::Warn,
       [](VmModel& vm) { vm.question = "moved or copied?"; }},
      {"fault tolerance", "vmware.vm.fault_tolerance", FindingLevel::Block,
       [](VmModel& vm) { vm.fault_tolerance = true; }},
      {"encrypted VM", "vmware.vm.encryption", FindingLevel::Block,
       [](VmModel& vm) { vm.key_id = "key"; }},
      {"VSRC-51 encrypted disk", "vmware.vm.encryption", FindingLevel::Block,
       [&](VmModel& vm) { first_disk(vm).backing.key_id = "key"; }},
      {"vTPM", "vmware.vm.encryption", FindingLevel::Warn,
       [&](VmModel& vm) { add_device(vm, "VirtualTPM"); }},
      {"snapshots", "vmware.vm.snapshots", FindingLevel::Warn,
       [](VmModel& vm) { vm.snapshots = 2; }},
      {"consolidation", "vmware.vm.consolidation", FindingLevel::Warn,
       [](VmModel& vm) { vm.consolidation_needed = true; }},
      {"PCI passthrough", "vmware.vm.passthrough", FindingLevel::Warn,
       [&](VmModel& vm) { add_device(vm, "VirtualPCIPassthrough"); }},
      {"USB", "vmware.vm.passthrough", FindingLevel::Warn,
       [&](VmModel& vm) { add_device(vm, "VirtualUSB"); }},
      {"hot-add", "vmware.vm.hotplug", FindingLevel::Log,
       [](VmModel& vm) { vm.memory_hot_add = true; }},
      {"nested", "vmware.vm.nested", FindingLevel::Warn, [](VmModel& vm) { vm.nested_hv = true; }},
      {"affinity", "vmware.vm.affinity", FindingLevel::Log,
       [](VmModel& vm) { vm.cpu_affinity = true; }},
      {"VW-05 topology", "vmware.vm.cpu_topology", FindingLevel::Warn,
       [](VmModel& vm) {
         vm.cpus = 6;
         vm.cores_per_socket = 4;
       }},
      {"secure boot", "vmware.firmware.secureboot", FindingLevel::Log,
       [](VmModel& vm) { vm.secure_boot = true; }},
      {"CD image", "vmware.cdrom", FindingLevel::Log,
       [&](VmModel& vm) {
         add_device(vm, "VirtualCdrom");
         vm.devices.back().backing.file = "[iso] a.iso";
       }},
      {"VSRC-5 denied property", "vmware.api.permission", FindingLevel::Warn,
       [](VmModel& vm) { vm.denied = {"config.extraConfig"}; }},
      {"no disk", "vmware.disk.exist", FindingLevel::Block,
       [](VmModel& vm) { std::erase_if(vm.devices, is_disk); }},
      {"VW-37 no file", "vmware.disk.backing", FindingLevel::Block,
       [&](VmModel& vm) {
         first_disk(vm).backing = {};
         first_disk(vm).backing.type = "VirtualDiskLocalPMemBackingInfo";
       }},
      {"sparse backing", "vmware.disk.backing", FindingLevel::Warn,
       [&](VmModel& vm) { first_disk(vm).backing.type = "VirtualDiskSparseVer2BackingInfo"; }},
      {"VSRC-51 physical RDM", "vmware.disk.rdm", FindingLevel::Block,
       [&](VmModel& vm) {
         first_disk(vm).backing.type = "VirtualDiskRawDiskMappingVer1BackingInfo";
         first_disk(vm).backing.compatibility_mode = "physicalMode";
       }},
      {"virtual RDM", "vmware.disk.rdm", FindingLevel::Warn,
       [&](VmModel& vm) {
         first_disk(vm).backing.type = "VirtualDiskRawDiskMappingVer1BackingInfo";
         first_disk(vm).backing.compatibility_mode = "virtualMode";
       }},
      {"delta by name", "vmware.disk.snapshot", FindingLevel::Warn,
       [&](VmModel& vm) { first_disk(vm).backing.file = "[LocalDS_0] two/disk1-000003.vmdk"; }},
      {"delta by parent", "vmware.disk.snapshot", FindingLevel::Warn,
       [&](VmModel& vm) { first_disk(vm).backing.parents = 1; }},
      {"delta on VMFS6", "vmware.disk.snapshot", FindingLevel::Warn,
       [&](VmModel& vm) { first_disk(vm).backing.type = "VirtualDiskSeSparseBackingInfo"; }},
      {"VSRC-51 multi-writer", "vmware.disk.shared", FindingLevel::Block,
       [&](VmModel& vm) { first_disk(vm).backing.sharing = "sharingMultiWriter"; }},
      {"shared bus", "vmware.disk.shared", FindingLevel::Block,
       [](VmModel& vm) { device_of(vm, "pvscsi-202")->shared_bus = "physicalSharing"; }},
      {"VSRC-51 independent", "vmware.disk.mode", FindingLevel::Warn,
       [&](VmModel& vm) { first_disk(vm).backing.disk_mode = "independent_persistent"; }},
      {"no capacity", "vmware.disk.size", FindingLevel::Block,
       [&](VmModel& vm) { first_disk(vm).capacity_bytes = 0; }},
      {"SR-IOV", "vmware.nic.type", FindingLevel::Warn,
       [&](VmModel& vm) { nic(vm).type = "VirtualSriovEthernetCard"; }},
      {"unknown card", "vmware.nic.type", FindingLevel::Warn,
       [&](VmModel& vm) { nic(vm).type = "VirtualVmxnet9"; }},
      {"unconnected card", "vmware.nic.connected", FindingLevel::Log,
       [&](VmModel& vm) { nic(vm).start_connected = false; }},
      {"VW-26 same network twice", "vmware.nic.duplicate_name", FindingLevel::Log,
       [&](VmModel& vm) { vm.devices.push_back(nic(vm)); }},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    VmModel vm = healthy();
    c.change(vm);
    const std::vector<Finding> findings = find_problems(vm);
    const Finding* finding = find(findings, c.rule, c.level);
    ASSERT_NE(finding, nullptr);
    EXPECT_EQ(finding->group, c.group);
    EXPECT_FALSE(finding->text.empty());
    EXPECT_EQ(finding->remedy.empty(), c.level == FindingLevel::Log);
    SourceVm out = translate(vm, {});
    // Not even an SR-IOV card, which becomes a virtual one: a pod mapping would block it.
    for (const SourceNic& one : out.nics) EXPECT_FALSE(one.sriov);
  }
}

TEST(RulesTest, ToolsMatterOnlyWhileTheVmIsNotOff) {
  for (const char* status : {"toolsOk", "toolsNotInstalled", ""}) {
    VmModel vm = healthy();
    vm.tools_status = status;
    EXPECT_EQ(find(find_problems(vm), "vmware.vm.tools", FindingLevel::Block), nullptr) << status;
  }
  VmModel on = healthy();
  on.power_state = "poweredOn";
  on.tools_status = "toolsOk";
  EXPECT_TRUE(find_problems(on).empty());
}

TEST(RulesTest, AGuestWithoutToolsIsNoObstacleToAnImportThatMayCutThePower) {
  VmModel vm = healthy();
  vm.power_state = "poweredOn";
  vm.tools_status = "toolsNotInstalled";
  EXPECT_NE(find(find_problems(vm), "vmware.vm.tools", FindingLevel::Block), nullptr);
  const std::vector<Finding> findings = find_problems(vm, {.may_cut_power = true});
  EXPECT_EQ(find(findings, "vmware.vm.tools", FindingLevel::Block), nullptr);
  const Finding* warned = find(findings, "vmware.vm.tools", FindingLevel::Warn);
  ASSERT_NE(warned, nullptr);
  EXPECT_FALSE(warned->remedy.empty());
  vm.power_state = "suspended";
  EXPECT_NE(
      find(find_problems(vm, {.may_cut_power = true}), "vmware.vm.tools", FindingLevel::Block),
      nullptr);
}

TEST(RulesTest, WithVddkAnEncryptedDiskIsNoObstacle) {
  VmModel vm = healthy();
  vm.key_id = "key";
  for (Device& device : vm.devices) {
    if (is_disk(device)) device.backing.key_id = "key";
  }
  const std::vector<Finding> without = find_problems(vm);
  EXPECT_EQ(std::ranges::count(without, FindingLevel::Block, &Finding::level), 3)
      << "the VM and each of its disks";
  for (const Finding& finding : without) {
    if (finding.level != FindingLevel::Block) continue;
    EXPECT_EQ(finding.rule, "vmware.vm.encryption");
    EXPECT_NE(finding.remedy.find("--vddk-libdir"), std::string::npos) << finding.remedy;
    EXPECT_NE(finding.remedy.find("storage policy"), std::string::npos) << finding.remedy;
  }
  const std::vector<Finding> with = find_problems(vm, {.vddk = true});
  EXPECT_EQ(std::ranges::count(with, "vmware.vm.encryption", &Finding::rule), 3);
  for (const Finding& finding : with) {
    EXPECT_NE(finding.level, FindingLevel::Block) << finding.rule;
  }
}

TEST(RulesTest, AnEncryptedVmWhoseEncryptedDisksAreElsewhereIsNoObstacle) {
  VmModel vm = healthy();
  vm.key_id = "key";
  for (Device& device : vm.devices) {
    if (is_disk(device)) device.backing.key_id = "key";
  }
  const auto blocks = [&](const DiskWays& ways) {
    const std::vector<Finding> findings = find_problems(vm, {.ways = ways});
    return std::ranges::count(findings, FindingLevel::Block, &Finding::level);
  };
  EXPECT_EQ(blocks({{"*", DiskWay::Elsewhere}}), 0);
  EXPECT_EQ(blocks({{"disk-202-0", DiskWay::Elsewhere}}), 2) << "the VM and its other disk";
  for (Device& device : vm.devices) {
    if (is_disk(device) && device.key != device_of(vm, "disk-202-0")->key) {
      device.backing.key_id.clear();
    }
  }
  EXPECT_EQ(blocks({{"disk-202-0", DiskWay::Elsewhere}}), 0) << "the other one is plain";
  const std::vector<Finding> told =
      find_problems(vm, {.ways = {{"disk-202-0", DiskWay::Elsewhere}}});
  EXPECT_NE(find(told, "vmware.vm.encryption", FindingLevel::Warn), nullptr);
}

// What the import asks for is judged before the source is stopped for it.
TEST(RulesTest, AWayThatIsAskedForAndCannotBeGoneBlocks) {
  const auto none = [](Backing&) {};
  const auto delta = [](Backing& b) { b.file = "[LocalDS_0] two/disk1-000003.vmdk"; };
  const auto encrypted = [](Backing& b) { b.key_id = "key"; };
  const auto physical = [](Backing& b) {
    b.type = "VirtualDiskRawDiskMappingVer1BackingInfo";
    b.compatibility_mode = "physicalMode";
  };
  constexpr std::string_view kAsked = "vmware.disk.backing";
  const struct {
    std::string name;
    std::function<void(Backing&)> change;
    DiskWays ways;
    bool vddk = false;
    std::string_view blocking;  // the only blocking rule; empty: nothing blocks
  } cases[] = {
      {"a flat file over HTTPS", none, {{"*", DiskWay::FlatFile}}, false, ""},
      {"a delta over HTTPS", delta, {{"*", DiskWay::FlatFile}}, false, kAsked},
      {"a delta over HTTPS, with VDDK", delta, {{"*", DiskWay::FlatFile}}, true, kAsked},
      {"a delta over HTTPS, by its name",
       delta,
       {{"disk-202-0", DiskWay::FlatFile}},
       false,
       kAsked},
      {"another disk's way", delta, {{"disk-202-1", DiskWay::FlatFile}}, false, ""},
      {"its own way before that of all",
       delta,
       {{"disk-202-0", DiskWay::ExportLease}, {"*", DiskWay::FlatFile}},
       false,
       ""},
      {"an encrypted disk over HTTPS", encrypted, {{"*", DiskWay::FlatFile}}, true, kAsked},
      {"an encrypted disk by export", encrypted, {{"*", DiskWay::ExportLease}}, true, kAsked},
      {"VDDK that an agent has", encrypted, {{"*", DiskWay::Vddk}}, true, ""},
      {"VDDK that no agent has", none, {{"disk-202-0", DiskWay::Vddk}}, false, kAsked},
      {"a raw device", physical, {{"disk-202-0", DiskWay::FlatFile}}, false, "vmware.disk.rdm"},
      {"a raw device that a server of the user's has",
       physical,
       {{"disk-202-0", DiskWay::Elsewhere}},
       false,
       ""},
      {"an encrypted disk that a server of the user's has",
       encrypted,
       {{"disk-202-0", DiskWay::Elsewhere}, {"*", DiskWay::FlatFile}},
       false,
       ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    VmModel vm = healthy();
    c.change(device_of(vm, "disk-202-0")->backing);
    std::vector<std::string> blocking;
    for (const Finding& finding : find_problems(vm, {.vddk = c.vddk, .ways = c.ways})) {
      if (finding.level != FindingLevel::Block) continue;
      blocking.push_back(finding.rule);
      EXPECT_NE(finding.text.find("disk-202-0"), std::string::npos) << finding.text;
      if (finding.rule != kAsked) continue;
      EXPECT_NE(finding.text.find("as the import asks"), std::string::npos) << finding.text;
      EXPECT_NE(finding.remedy.find("leave the choice"), std::string::npos) << finding.remedy;
    }
    const auto expected = c.blocking.empty() ? std::vector<std::string>()
                                             : std::vector<std::string>{std::string(c.blocking)};
    EXPECT_EQ(blocking, expected);
  }
}

TEST(RulesTest, Val133WarmImportsDemandChangeTracking) {
  VmModel vm = healthy();
  std::vector<Finding> findings = find_warm_problems(vm);
  const Finding* tracking = find(findings, "vmware.vm.change_tracking", FindingLevel::Block);
  ASSERT_NE(tracking, nullptr);
  EXPECT_EQ(tracking->group, FindingGroup::Mapping);
  EXPECT_NE(tracking->text.find("change"), std::string::npos);
  EXPECT_NE(find(findings, "vmware.disk.cbt", FindingLevel::Block), nullptr);

  vm.change_tracking = true;
  vm.extra_config = {{"scsi0:0.ctkEnabled", "true"}, {"scsi0:1.ctkEnabled", "TRUE"}};
  EXPECT_TRUE(find_warm_problems(vm).empty());

  vm.snapshots = 1;
  device_of(vm, "disk-202-1")->backing.disk_mode = "independent_nonpersistent";
  findings = find_warm_problems(vm);
  EXPECT_NE(find(findings, "vmware.vm.snapshots", FindingLevel::Block), nullptr);
  EXPECT_NE(find(findings, "vmware.disk.mode", FindingLevel::Block), nullptr);
}

TEST(RulesTest, AMissingThumbprintIsWarnedAbout) {
  EXPECT_TRUE(find_connection_problems(true).empty());
  EXPECT_NE(find(find_connection_problems(false), "vmware.api.thumbprint", FindingLevel::Log),
            nullptr);
}

TEST(RulesTest, ARichVmReportsEverythingAtOnce) {
  const std::vector<Finding> findings = find_problems(recorded_vm("vm_vcenter.xml"));
  const std::pair<const char*, FindingLevel> expected[] = {
      {"vmware.vm.encryption", FindingLevel::Warn},
      {"vmware.vm.snapshots", FindingLevel::Warn},
      {"vmware.firmware.secureboot", FindingLevel::Log},
      {"vmware.cdrom", FindingLevel::Log},
      {"vmware.api.permission", FindingLevel::Warn},
      {"vmware.nic.connected", FindingLevel::Log},
      {"vmware.disk.snapshot", FindingLevel::Warn},
      {"vmware.disk.shared", FindingLevel::Block},
      {"vmware.disk.mode", FindingLevel::Warn}};
  for (const auto& [rule, level] : expected)
    EXPECT_NE(find(findings, rule, level), nullptr) << rule;
}

}  // namespace
}  // namespace vmferry::vmware
