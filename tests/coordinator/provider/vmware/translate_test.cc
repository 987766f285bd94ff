#include "coordinator/provider/vmware/translate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/coordinator/provider/vmware/recorded.h"

namespace vmferry::vmware {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> disk_names(const SourceVm& vm) {
  std::vector<std::string> names;
  for (const SourceDisk& disk : vm.disks) names.push_back(disk.name);
  return names;
}

TEST(TranslateTest, ReadsTheReferenceVm) {
  const SourceVm vm = translate(two_disk_vm(), {});
  EXPECT_EQ(vm.provider, ProviderKind::Vmware);
  EXPECT_EQ(vm.id, "265104de-1472-547c-b873-6dc7883fb6cb");
  EXPECT_EQ(vm.native_id, "vm-61");
  EXPECT_EQ(vm.name, "two-disk");
  EXPECT_EQ(vm.cpu_cores, 1u);  // VW-04
  EXPECT_EQ(vm.cpu_sockets, 4u);
  EXPECT_EQ(vm.cpu_threads, std::nullopt);
  EXPECT_EQ(vm.memory_bytes, 2147483648u);  // VW-02
  EXPECT_EQ(vm.machine, "q35");             // VW-03
  EXPECT_EQ(vm.firmware, Firmware::Efi);
  EXPECT_EQ(vm.power, PowerState::Down);
  ASSERT_EQ(vm.disks.size(), 2u);
  EXPECT_EQ(vm.disks[0].name, "disk-202-0");
  EXPECT_EQ(vm.disks[0].attachment_id, "203");
  EXPECT_EQ(vm.disks[0].id, "vm-61-203");
  EXPECT_EQ(vm.disks[0].size_bytes, 2147483648u);
  EXPECT_EQ(vm.disks[0].storage_id, "datastore-57");
  EXPECT_EQ(vm.disks[0].storage_name, "LocalDS_0");
  EXPECT_EQ(vm.disks[0].bus, DiskBus::Virtio);
  EXPECT_EQ(vm.disks[0].boot_order, 1);
  EXPECT_TRUE(vm.disks[0].bootable);
  EXPECT_EQ(vm.disks[1].attachment_id, "205");
  EXPECT_EQ(vm.disks[1].boot_order, std::nullopt);
  ASSERT_EQ(vm.nics.size(), 1u);
  EXPECT_EQ(vm.nics[0].name, "ethernet-0");
  EXPECT_EQ(vm.nics[0].mac, "00:0c:29:5b:62:35");
  EXPECT_EQ(vm.nics[0].attachment, NicAttachment::Standard);
  EXPECT_THAT(vm.nics[0].network_names, ElementsAre("VM Network"));
  EXPECT_THAT(vm.nics[0].network_ids, ElementsAre("network-7"));
}

TEST(TranslateTest, VW38CapacityInKilobytesServesWhenBytesAreMissing) {
  EXPECT_EQ(translate(two_disk_vm(), {}).disks[1].size_bytes, std::uint64_t{1} << 30);
}

TEST(TranslateTest, ReadsARichVmOfARealServer) {
  Surroundings around;
  around.inventory_path = "DC/vm/shop/front 100%";
  around.datacenter_path = "DC";
  around.host_utc_offset_seconds = 3600;
  around.networks = {
      {{"DistributedVirtualPortgroup", "dvportgroup-13"}, "prod", "dvportgroup-13", ""},
      {{"OpaqueNetwork", "network-o9"}, "segment", "", "segment-77"}};
  const SourceVm vm = translate(recorded_vm("vm_vcenter.xml"), around);
  EXPECT_EQ(vm.name, "shop/front 100%");
  EXPECT_EQ(vm.description, "front <office> & more");
  EXPECT_EQ(vm.host_name, "SHOP.corp.example");
  EXPECT_EQ(vm.os_type, "windows2019srv_64Guest");
  EXPECT_EQ(vm.cpu_cores, 3u);
  EXPECT_EQ(vm.cpu_sockets, 2u);
  EXPECT_EQ(vm.firmware, Firmware::EfiSecureBoot);
  EXPECT_EQ(vm.serial, "5010a0b1-c2d3-e4f5-0617-2839405a6b7c");
  EXPECT_EQ(vm.firmware_uuid, "4210a0b1-c2d3-e4f5-0617-2839405a6b7c");
  EXPECT_TRUE(vm.has_tpm);
  EXPECT_THAT(vm.boot_devices, ElementsAre("cdrom", "disk", "network"));

  // The boot disk first, then SCSI before SATA as the controllers are listed.
  EXPECT_THAT(disk_names(vm), ElementsAre("Hard disk 2", "Hard disk 1", "Hard disk 3"));
  EXPECT_EQ(vm.disks[0].id, "6a0b0c0d-first-class");
  EXPECT_EQ(vm.disks[0].boot_order, 1);
  EXPECT_TRUE(vm.disks[0].shareable);
  EXPECT_EQ(vm.disks[0].bus, DiskBus::Sata);  // Windows without virtio drivers
  EXPECT_EQ(vm.disks[1].id, "42-2000");
  EXPECT_EQ(vm.disks[1].boot_order, std::nullopt);
  EXPECT_EQ(vm.disks[1].allocated_bytes, std::uint64_t{1} << 30);
  EXPECT_EQ(vm.disks[2].boot_order, 2);
  EXPECT_EQ(vm.disks[2].size_bytes, std::uint64_t{1} << 30);
  EXPECT_EQ(vm.disks[2].storage_name, "ds");  // VW-36

  ASSERT_EQ(vm.nics.size(), 3u);
  EXPECT_EQ(vm.nics[0].mac, "00:50:56:aa:bb:01");
  EXPECT_TRUE(vm.nics[0].connected);  // at power on; it is off now
  EXPECT_EQ(vm.nics[1].attachment, NicAttachment::Distributed) << "VW-25, VW-28: PCNet32";
  EXPECT_THAT(vm.nics[1].network_names, ElementsAre("Network adapter 2", "prod"));
  EXPECT_THAT(vm.nics[1].network_ids, ElementsAre("dvportgroup-13"));
  EXPECT_FALSE(vm.nics[1].connected);
  EXPECT_EQ(vm.nics[2].attachment, NicAttachment::Opaque);
  EXPECT_THAT(vm.nics[2].network_names, ElementsAre("segment", "Network adapter 3"));
  EXPECT_THAT(vm.nics[2].network_ids, ElementsAre("segment-77", "network-o9"));
}

TEST(TranslateTest, VW05And06CpuTopologyNeverLosesProcessors) {
  const struct {
    int cpus, cores;
    std::uint32_t expected_cores, expected_sockets;
  } cases[] = {{4, 1, 1, 4}, {6, 4, 1, 6}, {4, 0, 1, 4}, {8, 4, 4, 2}, {2, -3, 1, 2}, {1, 2, 1, 1}};
  for (const auto& c : cases) {
    SCOPED_TRACE(std::to_string(c.cpus) + "/" + std::to_string(c.cores));
    VmModel model;
    model.cpus = c.cpus;
    model.cores_per_socket = c.cores;
    const SourceVm vm = translate(model, {});
    EXPECT_EQ(vm.cpu_cores, c.expected_cores);
    EXPECT_EQ(vm.cpu_sockets, c.expected_sockets);
  }
  EXPECT_EQ(translate(VmModel{}, {}).cpu_cores, std::nullopt);
}

TEST(TranslateTest, VW07And08ClockFollowsTheHostExceptForLinux) {
  const struct {
    std::string name, guest;
    std::optional<int> host, expected;
  } cases[] = {{"VW-07 unknown guest", "otherGuest64", 3600, 3600},
               {"windows", "windows9_64Guest", -7200, -7200},
               {"linux keeps UTC", "rhel8_64Guest", 3600, std::nullopt},
               {"VW-08 no host information", "windows9_64Guest", std::nullopt, std::nullopt}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    VmModel model;
    model.guest_id = c.guest;
    Surroundings around;
    around.host_utc_offset_seconds = c.host;
    EXPECT_EQ(translate(model, around).utc_offset_seconds, c.expected);
  }
}

TEST(TranslateTest, VW09And10Firmware) {
  const struct {
    std::string firmware;
    std::optional<bool> secure;
    Firmware expected;
  } cases[] = {{"efi", std::nullopt, Firmware::Efi}, {"efi", true, Firmware::EfiSecureBoot},
               {"efi", false, Firmware::Efi},        {"bios", true, Firmware::Bios},
               {"", std::nullopt, Firmware::Bios},   {"coreboot", std::nullopt, Firmware::Bios}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.firmware);
    VmModel model;
    model.firmware = c.firmware;
    model.secure_boot = c.secure;
    EXPECT_EQ(translate(model, {}).firmware, c.expected);
  }
}

TEST(TranslateTest, VW35DisksFollowTheControllersAndNotTheTextOfTheirKeys) {
  VmModel vm = recorded_vm("vm_vcenter.xml");
  vm.boot_order.clear();
  EXPECT_THAT(disk_names(translate(vm, {})),
              ElementsAre("Hard disk 1", "Hard disk 2", "Hard disk 3"));
  vm.extra_config["bios.hddOrder"] = "sata0:0,scsi0:0";
  const SourceVm reordered = translate(vm, {});
  EXPECT_THAT(disk_names(reordered), ElementsAre("Hard disk 3", "Hard disk 1", "Hard disk 2"));
  EXPECT_TRUE(reordered.disks[0].bootable);
  EXPECT_FALSE(reordered.disks[1].bootable);
}

TEST(TranslateTest, NicsHaveTheirPlaceInTheBootOrder) {
  VmModel vm = recorded_vm("vm_vcenter.xml");
  const std::vector<SourceNic> nics = translate(vm, {}).nics;
  ASSERT_EQ(nics.size(), 3u);
  vm.boot_order = {{BootEntry::Kind::Network, std::stoi(nics[2].id)},
                   {BootEntry::Kind::Disk, 2000},
                   {BootEntry::Kind::Network, std::stoi(nics[0].id)},
                   {BootEntry::Kind::Network, 4999}};
  const SourceVm ordered = translate(vm, {});
  EXPECT_EQ(ordered.nics[2].boot_order, 1);
  EXPECT_EQ(ordered.nics[0].boot_order, 2);
  EXPECT_EQ(ordered.nics[1].boot_order, std::nullopt);
}

TEST(TranslateTest, VW36DatastoreNameEndsAtTheFirstBracket) {
  const struct {
    std::string file, datastore, path;
  } cases[] = {{"[ds] a]b/x.vmdk", "ds", "a]b/x.vmdk"},
               {"[fast store] vm/vm.vmdk", "fast store", "vm/vm.vmdk"},
               {"[ds]vm/vm.vmdk", "ds", "vm/vm.vmdk"},
               {"vm/vm.vmdk", "", ""},
               {"[ds vm/vm.vmdk", "", ""},
               {"", "", ""}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.file);
    EXPECT_EQ(datastore_of(c.file), c.datastore);
    EXPECT_EQ(path_of(c.file), c.path);
  }
}

TEST(TranslateTest, HardwareVirtualizationForTheGuest) {
  VmModel vm = two_disk_vm();
  EXPECT_FALSE(translate(vm, {}).nested_virtualization);
  vm.nested_hv = true;
  EXPECT_TRUE(translate(vm, {}).nested_virtualization);
}

TEST(TranslateTest, VW57And58PowerStates) {
  EXPECT_EQ(power_state_of("poweredOn"), PowerState::Up);
  EXPECT_EQ(power_state_of("poweredOff"), PowerState::Down);
  EXPECT_EQ(power_state_of("suspended"), PowerState::Suspended);
  EXPECT_EQ(power_state_of("dreaming"), PowerState::Unknown);
}

TEST(TranslateTest, EmptyAndAbsurdModelsTranslate) {
  const SourceVm nothing = translate(VmModel{}, {});
  EXPECT_TRUE(nothing.disks.empty());
  EXPECT_TRUE(nothing.nics.empty());
  VmModel absurd;
  absurd.cpus = -5;
  absurd.memory_mb = ~std::uint64_t{0};
  Device loose;  // a disk on a controller that is not there
  loose.type = "VirtualDisk";
  loose.controller_key = 999;
  absurd.devices = {loose, Device{}, loose};
  const SourceVm vm = translate(absurd, {});
  EXPECT_EQ(vm.disks.size(), 2u);
  EXPECT_EQ(vm.memory_bytes, 0u);
}

TEST(TranslateTest, UnescapesNamesOfTheServer) {
  EXPECT_EQ(unescape_name("a%2fb%5cc%25d%2Fe"), "a/b\\c%d/e");
  EXPECT_EQ(unescape_name("100%"), "100%");
  EXPECT_EQ(unescape_name("%252f"), "%2f");
}

}  // namespace
}  // namespace vmferry::vmware
