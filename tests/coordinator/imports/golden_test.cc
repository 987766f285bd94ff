#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <functional>

#include "coordinator/imports/template_sources.h"
#include "coordinator/provider/ovirt/translate.h"
#include "coordinator/provider/vmware/translate.h"
#include "tests/coordinator/imports/scene.h"
#include "tests/coordinator/provider/ovirt/vm_xml.h"
#include "tests/coordinator/provider/vmware/recorded.h"
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

// Two systems, three firmwares, one disk or many: each with each, for both providers.
void as_windows(Scene& s) {
  const bool ovirt = s.vm.provider == ProviderKind::Ovirt;
  s.vm.os_type = ovirt ? "windows_2019x64" : "windows2019srv_64Guest";
  s.vm.workload = ovirt ? "desktop" : "";
  s.vm.memory_bytes = 4 * kGib;
  s.vm.hugepages_kib.reset();
  s.vm.utc_offset_seconds = 3600;
  s.vm.has_sound = ovirt;
}

void ovirt_one(Scene& s) {
  s.vm.disks = {disk("a", DiskBus::Virtio, true)};
  s.vm.nics = {nic("p1", "nic1")};
  s.mappings.networks = {{net("p1", {})}};
}

void ovirt_many(Scene& s) {
  s.vm.tags = {"web tier", "prod"};
  s.vm.host_name = "web.lab.local";
  s.vm.has_rng = true;
  s.vm.watchdog_action = "poweroff";
  s.vm.eviction = "LiveMigrate";
  s.vm.firmware_uuid = s.vm.serial = "c1b1ae1c-6c3a-4d1c-9f5e-3d7b2a0e9f11";
  s.vm.disks = {disk("a", DiskBus::Virtio, true), disk("b", DiskBus::Sata),
                disk("c", DiskBus::Scsi), disk("d", DiskBus::Virtio), disk("cdrom", DiskBus::Sata)};
  s.vm.disks[2].read_only = true;
  s.vm.disks[4].cdrom = true;
  s.vm.boot_devices = {"disk", "cdrom", "network"};
  with_many_nics(s);
}

void vmware_one(Scene& s) { s.vm.disks.resize(1); }

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
  s.vm.tags = {"my tag", "b"};
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

void check(const std::string& name, Scene s) {
  SCOPED_TRACE(name);
  s.import.spec.target_vm_name = "myvm";
  const auto decision = s.decide();
  ASSERT_TRUE(decision) << to_string(decision.error());
  ASSERT_TRUE(decision->vm) << to_string(*decision->base_problem);
  check_golden(name, decision->vm->json());
}

TEST(GoldenTest, EachSystemWithEachFirmware) {
  const std::pair<const char*, Firmware> firmwares[] = {
      {"bios", Firmware::Bios}, {"efi", Firmware::Efi}, {"secureboot", Firmware::EfiSecureBoot}};
  for (const Scene& base : {scenes::ovirt(), scenes::vmware()}) {
    const bool ovirt = base.vm.provider == ProviderKind::Ovirt;
    for (const bool windows : {false, true}) {
      for (const auto& [firmware_name, firmware] : firmwares) {
        for (const bool many : {false, true}) {
          Scene s = base;
          if (windows) as_windows(s);
          s.vm.firmware = firmware;
          (ovirt ? many ? ovirt_many : ovirt_one : many ? vmware_many : vmware_one)(s);
          check(fmt::format("{}-{}-{}-{}", to_string(s.vm.provider), windows ? "windows" : "linux",
                            firmware_name, many ? "many" : "one"),
                s);
        }
      }
    }
  }
}

TEST(GoldenTest, WholeVms) {
  struct Case {
    const char* name;
    Scene scene;
    std::function<void(Scene&)> change;
  };
  const Scene ovirt = scenes::ovirt(), vmware = scenes::vmware();
  const Case cases[] = {
      {"ovirt-linux-openshift", ovirt,
       [](Scene& s) {
         ovirt_many(s);
         s.vm.memory_bytes = 2 * kGib;
         s.vm.guest_distribution = "Red Hat Enterprise Linux";
         s.vm.guest_version = "8.4";  // no template has it: the newest minor serves
         on_openshift(s);
       }},
      {"ovirt-linux-pinned", ovirt, ovirt_pinned},
      {"ovirt-without-template", ovirt,
       [](Scene& s) {
         ovirt_many(s);
         s.config.builtin_templates = false;
         s.config.import_without_template = true;
       }},
      {"vmware-linux-openshift", vmware, on_openshift},
      {"vmware-linux-preference", vmware, with_preferences},
      {"vmware-windows11", vmware, [](Scene& s) { vmware_windows(s, "windows11_64Guest"); }},
      {"vmware-windows-openshift", vmware,
       [](Scene& s) {
         vmware_windows(s, "windows2019srv_64Guest");
         on_openshift(s);
       }},
  };
  for (const Case& c : cases) {
    Scene s = c.scene;
    c.change(s);
    check(c.name, s);
  }
}

// From the answers of engine and vCenter, through the providers' own reading.
TEST(GoldenTest, FromWhatTheServersAnswer) {
  Scene ovirt = scenes::ovirt();
  ovirt.vm = ovirt::translate(ovirt::vm_of(ovirt::with_more("<os><type>rhel_8x64</type></os>")));
  ovirt.mappings.networks = {{net("p1", "pod")}};
  check("ovirt-from-the-engine", ovirt);
  for (const auto& [name, file] : {std::pair("vmware-from-the-simulator", "vm_simulator.xml"),
                                   std::pair("vmware-from-vcenter", "vm_vcenter.xml")}) {
    Scene vmware = scenes::vmware();
    vmware.vm = vmware::translate(vmware::recorded_vm(file), {});
    if (vmware.vm.os_type.empty()) vmware.vm.os_type = "rhel8_64Guest";  // the simulator says none
    vmware.mappings.networks.emplace();
    for (const SourceNic& nic : vmware.vm.nics) {
      api::NetworkMappingItem item = net("", "multus", "lab");
      item.source = {.id = {}, .name = nic.network_names.front()};
      vmware.mappings.networks->push_back(item);
    }
    check(name, vmware);
  }
}

}  // namespace
}  // namespace vmferry::imports
