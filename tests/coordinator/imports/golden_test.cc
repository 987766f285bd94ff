#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <functional>

#include "coordinator/imports/template_sources.h"
#include "tests/coordinator/imports/scene.h"
#include "tests/support/places.h"

// Cases name only the fields that they are about.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

// Whole VMs, from the source through mapping, OS detection and template to what is created.
namespace vmferry::imports {
namespace {

using nlohmann::json;
using scenes::kGib;
using scenes::net;
using scenes::nic;
using scenes::Scene;

const std::string kData = testing::source_dir() + "/tests/data/";

// tests/data/golden/NAME.json. With VMFERRY_UPDATE_GOLDEN set the file is written anew: read the
// difference before it is committed.
void check_golden(const std::string& name, const json& actual) {
  const std::string path = kData + "golden/" + name + ".json";
  if (std::getenv("VMFERRY_UPDATE_GOLDEN") != nullptr)
    std::ofstream(path) << actual.dump(2) << '\n';
  std::ifstream file(path);
  ASSERT_TRUE(file) << path;
  EXPECT_EQ(actual, json::parse(file)) << actual.dump(2);
}

SourceDisk disk(const std::string& id, DiskBus bus = DiskBus::Virtio, bool bootable = false) {
  SourceDisk one{.id = id, .attachment_id = id + "-1", .name = "disk " + id, .size_bytes = kGib};
  one.bus = bus;
  one.bootable = bootable;
  return one;
}

// OpenShift with its common templates.
void on_openshift(Scene& s) {
  s.facts.has_template_api = true;
  s.facts.templates = templates_in(kData + "templates").templates;
  s.facts.template_namespaces = {"openshift"};
}

void with_many_nics(Scene& s) {
  s.vm.nics = {nic("p1", "nic1"), nic("p2", "nic 1"), nic("p3", "nic3"), nic("p4", "nic4")};
  s.vm.nics[1].model = "e1000";
  s.vm.nics[2].sriov = true;
  s.vm.nics[2].model = "pci_passthrough";
  s.vm.nics[3].plugged = false;
  s.mappings.networks = {{net("p1", "pod"), net("p2", "multus"), net("p3", "multus", "sriov-net"),
                          net("p4", "multus")}};
  (*s.mappings.networks)[1].target.ns = "lab";
}

void ovirt_linux_bios(Scene& s) {
  s.vm.tags = {"web tier", "prod"};
  s.vm.host_name = "web.lab.local";
  s.vm.has_rng = true;
  s.vm.watchdog_action = "poweroff";
  s.vm.eviction = "LiveMigrate";
  s.vm.firmware_uuid = s.vm.serial = "c1b1ae1c-6c3a-4d1c-9f5e-3d7b2a0e9f11";
  s.vm.disks = {disk("a", DiskBus::Virtio, true), disk("b", DiskBus::Sata),
                disk("c", DiskBus::Scsi)};
  s.vm.disks[2].read_only = true;
  with_many_nics(s);
}

void ovirt_pinned(Scene& s) {
  s.vm.cpu_dedicated = true;
  s.vm.cpu_model = "Haswell-noTSX";
  s.vm.hugepages_kib = 1048576;
  s.vm.memory_bytes = 8 * kGib;
  s.vm.has_graphics = false;
  s.vm.serial_console = true;
  s.vm.io_threads = true;
  s.vm.workload = "high_performance";
  s.vm.time_zone = "Europe/Prague";
  s.vm.boot_devices = {"network", "disk"};
  s.vm.disks = {disk("a", DiskBus::Scsi, true)};
  with_many_nics(s);
}

void ovirt_windows(Scene& s, const char* os_type, Firmware firmware) {
  s.vm.os_type = os_type;
  s.vm.workload = "desktop";
  s.vm.firmware = firmware;
  s.vm.memory_bytes = 4 * kGib;
  s.vm.utc_offset_seconds = 3600;
  s.vm.has_sound = true;
  s.vm.disks = {disk("c", DiskBus::Sata, true), disk("d", DiskBus::Virtio)};
  s.vm.nics = {nic("p1", "nic1")};
  s.vm.nics[0].model = "e1000";
  s.mappings.networks = {{net("p1", {})}};
}

void vmware_many(Scene& s) {
  s.vm.disks.clear();
  for (const char* key : {"2000", "2001", "3000", "16000", "31000"}) {
    s.vm.disks.push_back({.id = std::string("i") + key,
                          .attachment_id = key,
                          .name = std::string("Hard disk ") + key,
                          .size_bytes = kGib});
  }
  s.vm.disks[1].boot_order = 1;
  s.vm.nics = {nic("network-7", "Network adapter 1"), nic("network-7", "Network adapter 2"),
               nic("dvportgroup-13", "Network adapter 3"), nic("opaque", "Network adapter 4")};
  s.vm.nics[0].attachment = s.vm.nics[1].attachment = NicAttachment::Standard;
  s.vm.nics[0].network_names = s.vm.nics[1].network_names = {"VM Network"};
  s.vm.nics[2].attachment = NicAttachment::Distributed;
  s.vm.nics[3].attachment = NicAttachment::Opaque;
  s.vm.nics[3].connected = false;
  s.mappings.networks = {
      {net("network-7", "multus"), net("dvportgroup-13", "pod"), net("opaque", "multus", "nsx")}};
  s.vm.firmware = Firmware::Bios;
  s.vm.tags = {"my tag", "b"};
}

void vmware_windows(Scene& s, const char* guest_id) {
  s.vm.os_type = guest_id;
  s.vm.firmware = Firmware::EfiSecureBoot;
  s.vm.has_tpm = true;
}

void with_preferences(Scene& s) {
  const auto named = [](const char* kind, const char* name, json spec) {
    return kube::Object(json{{"apiVersion", "instancetype.kubevirt.io/v1beta1"},
                             {"kind", kind},
                             {"metadata", {{"name", name}}},
                             {"spec", std::move(spec)}});
  };
  s.config.use_preferences = true;
  s.facts.preferences = {named("VirtualMachineClusterPreference", "rhel.8", json::object()),
                         named("VirtualMachineClusterPreference", "rhel", json::object())};
  s.facts.instancetypes = {named("VirtualMachineClusterInstancetype", "u1.4x2",
                                 {{"cpu", {{"guest", 4}}}, {"memory", {{"guest", "2Gi"}}}})};
}

TEST(GoldenTest, WholeVms) {
  struct Case {
    const char* name;
    Scene scene;
    std::function<void(Scene&)> change;
  };
  const Scene ovirt = scenes::ovirt(), vmware = scenes::vmware();
  const Case cases[] = {
      {"ovirt-linux-bios", ovirt, ovirt_linux_bios},
      {"ovirt-linux-efi", ovirt,
       [](Scene& s) {
         ovirt_linux_bios(s);
         s.vm.firmware = Firmware::Efi;
         s.vm.os_type = "debian_9";
       }},
      {"ovirt-linux-openshift", ovirt,
       [](Scene& s) {
         ovirt_linux_bios(s);
         s.vm.memory_bytes = 2 * kGib;
         s.vm.guest_distribution = "Red Hat Enterprise Linux";
         s.vm.guest_version = "8.4";  // no template has it: the newest minor serves
         on_openshift(s);
       }},
      {"ovirt-linux-pinned", ovirt, ovirt_pinned},
      {"ovirt-windows-bios", ovirt,
       [](Scene& s) { ovirt_windows(s, "windows_10x64", Firmware::Bios); }},
      {"ovirt-windows-efi-secureboot", ovirt,
       [](Scene& s) { ovirt_windows(s, "windows_2022", Firmware::EfiSecureBoot); }},
      {"ovirt-without-template", ovirt,
       [](Scene& s) {
         ovirt_linux_bios(s);
         s.config.builtin_templates = false;
         s.config.import_without_template = true;
       }},
      {"vmware-linux-efi", vmware, {}},
      {"vmware-linux-bios-many", vmware, vmware_many},
      {"vmware-linux-openshift", vmware, on_openshift},
      {"vmware-linux-preference", vmware, with_preferences},
      {"vmware-windows-bios", vmware,
       [](Scene& s) {
         s.vm.os_type = "windows9_64Guest";
         s.vm.firmware = Firmware::Bios;
       }},
      {"vmware-windows-efi", vmware, [](Scene& s) { vmware_windows(s, "windows2019srv_64Guest"); }},
      {"vmware-windows11-efi", vmware, [](Scene& s) { vmware_windows(s, "windows11_64Guest"); }},
      {"vmware-windows-openshift", vmware,
       [](Scene& s) {
         vmware_windows(s, "windows2019srv_64Guest");
         on_openshift(s);
       }},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    Scene s = c.scene;
    s.import.spec.target_vm_name = "myvm";
    if (c.change) c.change(s);
    const auto decision = s.decide();
    ASSERT_TRUE(decision) << to_string(decision.error());
    ASSERT_TRUE(decision->vm) << to_string(*decision->base_problem);
    check_golden(c.name, decision->vm->json());
  }
}

}  // namespace
}  // namespace vmferry::imports
