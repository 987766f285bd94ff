#include "coordinator/imports/vm_builder.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <set>

#include "coordinator/imports/names.h"
#include "coordinator/imports/templates.h"
#include "coordinator/imports/vm_parts.h"
#include "tests/coordinator/imports/scene.h"

// Cases name only the fields that they are about.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

namespace vmferry::imports {
namespace {

using nlohmann::json;

using scenes::kGib;
using scenes::kUid;
using scenes::net;
using scenes::nic;
using scenes::ovirt;
using scenes::Scene;
using scenes::vmware;

// One change to a scene, and what stands at a place of spec.template.spec afterwards ("null": not
// there).
struct Case {
  const char* id;
  std::function<void(Scene&)> change;
  const char* path;
  const char* expected;
};

void check(const Scene& base, const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    SCOPED_TRACE(std::string(c.id) + " " + c.path);
    Scene s = base;
    if (c.change) c.change(s);
    const json vm = s.build().json();
    const json::json_pointer path(std::string(c.path).starts_with("/metadata") ||
                                          std::string(c.path).starts_with("/spec")
                                      ? c.path
                                      : std::string("/spec/template/spec") + c.path);
    const json actual = vm.contains(path) ? vm.at(path) : json();
    EXPECT_EQ(actual, json::parse(c.expected));
  }
}

TEST(BuildVmTest, MapsOvirtAttributes) {
  check(
      ovirt(),
      {
          {"OV-40", {}, "/metadata/name", R"("myvm")"},
          {"OV-40", {}, "/metadata/namespace", R"("ns")"},
          {"OV-40", {}, "/domain/cpu", R"({"cores":1,"sockets":2,"threads":4})"},
          {"OV-40", {}, "/domain/machine/type", R"("q35")"},
          {"OV-40", {}, "/domain/firmware/bootloader", R"({"bios":{}})"},
          {"OV-40", {}, "/domain/features", "null"},
          {"OV-40", {}, "/domain/resources/requests/memory", R"("1Gi")"},
          {"OV-40", {}, "/domain/memory", R"({"guest":"1Gi","hugepages":{"pageSize":"2Mi"}})"},
          {"OV-40",
           {},
           "/domain/devices/inputs",
           R"([{"type":"tablet","name":"tablet","bus":"virtio"}])"},
          {"OV-40", {}, "/domain/devices/autoattachGraphicsDevice", "true"},
          {"OV-40", {}, "/metadata/labels/origin", R"("ovirt")"},
          {"OV-40", {}, "/metadata/labels/instanceType", R"("server")"},
          {"OV-40", {}, "/metadata/annotations/comment", R"("vmcomment")"},
          {"OV-40", {}, "/metadata/annotations/sso", R"("guest_agent")"},
          {"OV-41 ours", {}, "/spec/runStrategy", R"("Halted")"},
          {"OV-41 ours", {}, "/spec/running", "null"},
          {"OV-41 ours, HA on", [](Scene& s) { s.vm.high_availability = true; },
           "/metadata/annotations/vmimport.v2v.kubevirt.io~1run-strategy", R"("Always")"},
          {"OV-41 ours, HA off", [](Scene& s) { s.vm.high_availability = false; },
           "/metadata/annotations/vmimport.v2v.kubevirt.io~1run-strategy", R"("RerunOnFailure")"},
          {"OV-42", [](Scene& s) { s.vm.machine = "pc-i440fx-rhel7.6.0"; }, "/domain/machine/type",
           R"("q35")"},
          {"OV-43", [](Scene& s) { s.vm.machine = "pc-q35-rhel8.1.0"; }, "/domain/machine/type",
           R"("pc-q35-rhel8.1.0")"},
          {"OV-44", [](Scene& s) { s.vm.cpu_dedicated = true; },
           "/domain/cpu/dedicatedCpuPlacement", "true"},
          {"OV-44", [](Scene& s) { s.vm.cpu_dedicated = true; }, "/domain/resources",
           R"({"requests":{"memory":"1Gi"},"limits":{"memory":"1Gi"}})"},
          {"OV-45", [](Scene& s) { s.vm.firmware = Firmware::Efi; }, "/domain/firmware/bootloader",
           R"({"efi":{"secureBoot":false}})"},
          {"OV-45", [](Scene& s) { s.vm.firmware = Firmware::Efi; }, "/domain/features", "null"},
          {"OV-46", [](Scene& s) { s.vm.firmware = Firmware::EfiSecureBoot; },
           "/domain/firmware/bootloader", R"({"efi":{"secureBoot":true}})"},
          {"OV-46", [](Scene& s) { s.vm.firmware = Firmware::EfiSecureBoot; },
           "/domain/features/smm/enabled", "true"},
          {"OV-49", [](Scene& s) { s.os = "Win2k19"; }, "/domain/devices/inputs/0/bus", R"("usb")"},
          {"OV-50", [](Scene& s) { s.vm.has_graphics = false; }, "/domain/devices/inputs", "null"},
          {"OV-50", [](Scene& s) { s.vm.has_graphics = false; },
           "/domain/devices/autoattachGraphicsDevice", "false"},
          {"OV-51", [](Scene& s) { s.vm.architecture = "undefined"; }, "/domain/machine", "null"},
          {"ppc64", [](Scene& s) { s.vm.architecture = "ppc64"; }, "/domain/machine/type",
           R"("pseries")"},
          {"OV-52",
           [](Scene& s) {
             s.vm.tags = {"a", "b"};
           },
           "/metadata/labels/tags", R"("a.b")"},
          {"OV-52",
           [](Scene& s) {
             s.vm.tags = {"a", "b"};
           },
           "/metadata/annotations/vmimport.v2v.kubevirt.io~1source-tags", R"("a,b")"},
          {"OV-53", [](Scene& s) { s.vm = SourceVm{.provider = ProviderKind::Ovirt}; },
           "/domain/firmware", "null"},
          {"OV-54", [](Scene& s) { s.vm.live_migratable = true; }, "/evictionStrategy",
           R"("LiveMigrate")"},
          {"pinned", [](Scene& s) { s.vm.eviction = "None"; }, "/evictionStrategy", R"("None")"},
          {"OV-30", [](Scene& s) { s.vm.utc_offset_seconds = 0; }, "/domain/clock/utc",
           R"({"offsetSeconds":0})"},
          {"OV-34",
           [](Scene& s) {
             s.vm.utc_offset_seconds = 3600;
             s.vm.time_zone = "x";
           },
           "/domain/clock", R"({"timer":{},"utc":{"offsetSeconds":3600}})"},
          {"OV-35", [](Scene& s) { s.vm.time_zone = "Etc/GMT"; }, "/domain/clock",
           R"({"timer":{},"timezone":"Etc/GMT"})"},
          {"OV-36, OV-37", {}, "/domain/clock", R"({"timer":{},"utc":{}})"},
          {"huge pages of 1 GiB", [](Scene& s) { s.vm.hugepages_kib = 1048576; },
           "/domain/memory/hugepages/pageSize", R"("1Gi")"},
          {"huge pages of no size", [](Scene& s) { s.vm.hugepages_kib = 3000; },
           "/domain/memory/hugepages", "null"},
          {"rng", [](Scene& s) { s.vm.has_rng = true; }, "/domain/devices/rng", "{}"},
          {"sound", [](Scene& s) { s.vm.has_sound = true; }, "/domain/devices/sound",
           R"({"name":"sound","model":"ich9"})"},
          {"io threads", [](Scene& s) { s.vm.io_threads = true; }, "/domain/ioThreadsPolicy",
           R"("auto")"},
          {"watchdog", [](Scene& s) { s.vm.watchdog_action = "dump"; }, "/domain/devices/watchdog",
           R"({"name":"watchdog","i6300esb":{"action":"reset"}})"},
          {"serial console", [](Scene& s) { s.vm.serial_console = false; },
           "/domain/devices/autoattachSerialConsole", "false"},
          {"host name", [](Scene& s) { s.vm.host_name = "a.b.com"; }, "/hostname", R"("a-b-com")"},
          {"no host name", [](Scene& s) { s.vm.host_name = "localhost.localdomain"; }, "/hostname",
           "null"},
          {"no host name, v4", [](Scene& s) { s.vm.host_name = "LOCALHOST4.localdomain4"; },
           "/hostname", "null"},
          {"none at all", [](Scene& s) { s.vm.host_name = "(none)"; }, "/hostname", "null"},
          {"a host of that name", [](Scene& s) { s.vm.host_name = "localhosts.lab"; }, "/hostname",
           R"("localhosts-lab")"},
          {"CPU model", [](Scene& s) { s.vm.cpu_model = "Haswell"; }, "/domain/cpu/model",
           R"("Haswell")"},
      });
}

TEST(BuildVmTest, MapsVmwareAttributes) {
  check(
      vmware(),
      {
          {"VW-01", {}, "/metadata/name", R"("myvm")"},
          {"VW-02", {}, "/domain/resources/requests/memory", R"("2Gi")"},
          {"VW-03", {}, "/domain/machine/type", R"("q35")"},
          {"VW-04", {}, "/domain/cpu", R"({"cores":1,"sockets":4})"},
          {"nested virtualization", [](Scene& s) { s.vm.nested_virtualization = true; },
           "/domain/cpu/features",
           R"([{"name":"vmx","policy":"optional"},{"name":"svm","policy":"optional"}])"},
          {"no nested virtualization", {}, "/domain/cpu/features", "null"},
          {"VW-07", {}, "/domain/clock/utc/offsetSeconds", "3600"},
          {"VW-08", [](Scene& s) { s.vm.utc_offset_seconds.reset(); }, "/domain/clock/utc", "{}"},
          {"VW-09", {}, "/domain/firmware/bootloader", R"({"efi":{"secureBoot":false}})"},
          {"VW-10", [](Scene& s) { s.vm.firmware = Firmware::Unknown; },
           "/domain/firmware/bootloader", R"({"bios":{}})"},
          {"VW-11 a", [](Scene& s) { s.os = "linux"; }, "/domain/devices/inputs/0/bus",
           R"("virtio")"},
          {"VW-11 b", [](Scene& s) { s.os = "Windows"; }, "/domain/devices/inputs/0/bus",
           R"("usb")"},
          {"VW-11 c", [](Scene& s) { s.os = ""; }, "/domain/devices/inputs/0/bus", R"("virtio")"},
          {"VW-12 a", {}, "/hostname", R"("web1")"},
          {"VW-12 d", [](Scene& s) { s.vm.host_name = "web1.lab.local"; }, "/hostname",
           R"("web1")"},
          {"VW-12 b", [](Scene& s) { s.vm.host_name = ""; }, "/hostname", "null"},
          {"VW-12 c", [](Scene& s) { s.vm.host_name = "localhost.localdomain"; }, "/hostname",
           "null"},
          {"VW-14",
           [](Scene& s) {
             s.base.json()["spec"]["template"]["spec"]["domain"]["memory"]["guest"] = "2Gi";
             s.vm.memory_bytes = 8 * kGib;
           },
           "/domain/memory/guest", R"("8Gi")"},
          {"VW-15 a", {}, "/metadata/labels/tags", R"("")"},
          {"VW-15 b",
           [](Scene& s) {
             s.vm.tags = {"my tag", "b"};
           },
           "/metadata/labels/tags", R"("my_tag.b")"},
          {"VW-15 c",
           [](Scene& s) {
             s.vm.tags = {"my tag", "b"};
           },
           "/metadata/annotations/vmimport.v2v.kubevirt.io~1source-tags", R"("my tag,b")"},
          {"description", {}, "/metadata/annotations/vmware-description", R"("a test")"},
          {"serial", {}, "/domain/firmware/serial", R"("5023-serial")"},
          {"uuid", {}, "/domain/firmware/uuid", R"("42301f3a-0000-4000-8000-00505601a2b3")"},
          {"VW-20", {}, "/networks", R"([{"name":"vmnetwork","pod":{}}])"},
          {"VW-20",
           {},
           "/domain/devices/interfaces",
           R"([{"name":"vmnetwork","macAddress":"00:0c:29:5b:62:35","model":"virtio","masquerade":{}}])"},
          {"VW-20", {}, "/domain/devices/networkInterfaceMultiqueue", "true"},
          {"VW-21",
           [](Scene& s) {
             s.mappings.networks = {{net("", "pod")}};
             (*s.mappings.networks)[0].source = {.id = {}, .name = "VM Network"};
           },
           "/networks", R"([{"name":"vmnetwork","pod":{}}])"},
          {"a cable that is out stays out", [](Scene& s) { s.vm.nics[0].connected = false; },
           "/domain/devices/interfaces/0/state", R"("down")"},
          {"VW-22", [](Scene& s) { s.mappings.networks = {{net("network-7", "multus")}}; },
           "/networks/0/multus/networkName", R"("net-attach-def")"},
          {"VW-22", [](Scene& s) { s.mappings.networks = {{net("network-7", "multus")}}; },
           "/domain/devices/interfaces/0/bridge", "{}"},
          {"VW-23", [](Scene& s) { s.mappings.networks->clear(); }, "/networks", "[]"},
          {"VW-23", [](Scene& s) { s.mappings.networks->clear(); }, "/domain/devices/interfaces",
           "[]"},
          {"VW-23", [](Scene& s) { s.mappings.networks->clear(); },
           "/domain/devices/networkInterfaceMultiqueue", "false"},
          {"VW-23 ours", [](Scene& s) { s.mappings.networks->clear(); },
           "/domain/devices/autoattachPodInterface", "false"},
          {"VW-24", [](Scene& s) { s.mappings.networks = {{net("network-7", {})}}; },
           "/networks/0/pod", "{}"},
          {"VW-26",
           [](Scene& s) {
             s.vm.nics.push_back(s.vm.nics[0]);
             s.vm.nics.push_back(s.vm.nics[0]);
           },
           "/networks",
           R"([{"name":"vmnetwork","pod":{}},{"name":"ethernet-0","pod":{}},{"name":"ethernet-0-2","pod":{}}])"},
          {"VW-27",
           [](Scene& s) {
             s.mappings.networks = {{net("network-7", "multus"), net("network-7", "pod")}};
           },
           "/networks", R"([{"name":"vmnetwork","multus":{"networkName":"net-attach-def"}}])"},
          {"VW-34",
           {},
           "/domain/devices/disks",
           R"([{"name":"dv-d39a8d6c-ea37-5c91-8979-334e7e07cab6-203","disk":{"bus":"virtio"},"bootOrder":1},
           {"name":"dv-d39a8d6c-ea37-5c91-8979-334e7e07cab6-205","disk":{"bus":"virtio"}}])"},
          {"VW-34",
           {},
           "/volumes",
           R"([{"name":"dv-d39a8d6c-ea37-5c91-8979-334e7e07cab6-203","persistentVolumeClaim":{"claimName":"d39a8d6c-ea37-5c91-8979-334e7e07cab6-203"}},
           {"name":"dv-d39a8d6c-ea37-5c91-8979-334e7e07cab6-205","persistentVolumeClaim":{"claimName":"d39a8d6c-ea37-5c91-8979-334e7e07cab6-205"}}])"},
          {"VW-35",
           [](Scene& s) {
             s.vm.disks[0].attachment_id = "2000";
             s.vm.disks[1].attachment_id = "16000";
           },
           "/volumes/1/name", R"("dv-d39a8d6c-ea37-5c91-8979-334e7e07cab6-16000")"},
          {"Windows boots without virtio", [](Scene& s) { s.os = "win2k19"; },
           "/domain/devices/disks/0/disk/bus", R"("sata")"},
          {"converted Windows",
           [](Scene& s) {
             s.os = "win2k19";
             s.converted = true;
           },
           "/domain/devices/disks/0/disk/bus", R"("virtio")"},
          {"boot order option", [](Scene& s) { s.vm.disks[1].boot_order = 1; },
           "/domain/devices/disks/1/bootOrder", "1"},
          {"boot order option", [](Scene& s) { s.vm.disks[1].boot_order = 1; },
           "/domain/devices/disks/0/bootOrder", "null"},
      });
}

TEST(BuildVmTest, MapsOvirtNics) {
  Scene s = ovirt();
  s.vm.nics = {nic("p1", "nic1"), nic("p2", "nic2")};
  s.vm.nics[1].model = "e1000";
  s.mappings.networks = {{net("p1", "multus"), net("p2", "pod")}};
  const auto both_multus = [](Scene& x) {
    x.mappings.networks = {{net("p1", "multus"), net("p2", "multus")}};
  };
  check(
      s,
      {
          {"OV-60",
           {},
           "/networks",
           R"([{"name":"nic1","multus":{"networkName":"net-attach-def"}},{"name":"nic2","pod":{}}])"},
          {"OV-60",
           {},
           "/domain/devices/interfaces",
           R"([{"name":"nic1","macAddress":"p1","model":"virtio","bridge":{}},{"name":"nic2","macAddress":"p2","model":"e1000","masquerade":{}}])"},
          {"OV-61",
           [](Scene& x) {
             x.vm.nics[0].sriov = true;
             x.vm.nics[0].model = "pci_passthrough";
           },
           "/domain/devices/interfaces/0", R"({"name":"nic1","macAddress":"p1","sriov":{}})"},
          {"OV-61", [](Scene& x) { x.vm.nics[0].sriov = true; }, "/networks/0/multus/networkName",
           R"("ns/net-attach-def")"},
          {"OV-62", [](Scene& x) { x.mappings.networks = {{net("p2", {})}}; }, "/networks",
           R"([{"name":"nic2","pod":{}}])"},
          {"OV-63", both_multus, "/domain/devices/interfaces/1",
           R"({"name":"nic2","macAddress":"p2","model":"e1000","bridge":{}})"},
          {"OV-64", [](Scene& x) { x.vm.nics[0].has_network = false; }, "/networks",
           R"([{"name":"nic2","pod":{}}])"},
          {"OV-65", [](Scene& x) { x.vm.nics[0].plugged = false; }, "/networks",
           R"([{"name":"nic2","pod":{}}])"},
          {"OV-66", [](Scene& x) { x.vm.nics.clear(); }, "/networks", "[]"},
          {"OV-66", [](Scene& x) { x.vm.nics.clear(); }, "/domain/devices/interfaces", "[]"},
          {"OV-67", [](Scene& x) { (*x.mappings.networks)[0].target.ns = "other"; },
           "/networks/0/multus/networkName", R"("other/net-attach-def")"},
          {"a NIC that is not linked stays so", [](Scene& x) { x.vm.nics[0].connected = false; },
           "/domain/devices/interfaces/0/state", R"("down")"},
          {"collision", [](Scene& x) { x.vm.nics[0].name = "nic 2"; }, "/networks/1/name",
           R"("nic2-2")"},
      });
}

TEST(BuildVmTest, MapsOvirtDisks) {
  Scene s = ovirt();
  s.vm.disks = {{.id = "a", .attachment_id = "a1", .bootable = true},
                {.id = "b", .attachment_id = "b1", .bus = DiskBus::Sata},
                {.id = "c", .attachment_id = "c1", .bus = DiskBus::Scsi, .read_only = true}};
  s.vm.nics = {nic("p1", "nic1")};
  s.mappings.networks = {{net("p1", "pod")}};
  check(s, {
               {"OV-81", {}, "/domain/devices/disks/0/disk", R"({"bus":"virtio"})"},
               {"OV-81", {}, "/domain/devices/disks/1/disk", R"({"bus":"sata"})"},
               {"OV-81", {}, "/domain/devices/disks/2/disk", R"({"bus":"scsi","readonly":true})"},
               {"OV-82", {}, "/domain/devices/disks/0/bootOrder", "1"},
               {"OV-82", {}, "/domain/devices/disks/1/bootOrder", "null"},
               {"network first",
                [](Scene& x) {
                  x.vm.boot_devices = {"network", "cdrom", "disk"};
                },
                "/domain/devices/interfaces/0/bootOrder", "1"},
               {"network first",
                [](Scene& x) {
                  x.vm.boot_devices = {"network", "cdrom", "disk"};
                },
                "/domain/devices/disks/0/bootOrder", "2"},
               {"the NIC that the source boots from",
                [](Scene& x) {
                  x.vm.nics.push_back(nic("p1", "nic2"));
                  x.vm.nics[1].boot_order = 1;
                  x.vm.boot_devices = {"network", "disk"};
                },
                "/domain/devices/interfaces/1/bootOrder", "1"},
               {"the NIC that the source boots from",
                [](Scene& x) {
                  x.vm.nics.push_back(nic("p1", "nic2"));
                  x.vm.nics[1].boot_order = 1;
                  x.vm.boot_devices = {"network", "disk"};
                },
                "/domain/devices/interfaces/0/bootOrder", "null"},
               {"a CD is one", [](Scene& x) { x.vm.disks[2].cdrom = true; },
                "/domain/devices/disks/2/cdrom", R"({"bus":"sata"})"},
               {"a CD is one", [](Scene& x) { x.vm.disks[2].cdrom = true; },
                "/domain/devices/disks/2/disk", "null"},
               {"a CD boots where the source says so",
                [](Scene& x) {
                  x.vm.disks[2].cdrom = true;
                  x.vm.boot_devices = {"cdrom", "disk"};
                },
                "/domain/devices/disks/2/bootOrder", "1"},
               {"a CD does not boot else", [](Scene& x) { x.vm.disks[2].cdrom = true; },
                "/domain/devices/disks/2/bootOrder", "null"},
               {"nothing bootable", [](Scene& x) { x.vm.disks[0].bootable = false; },
                "/domain/devices/disks/0/bootOrder", "null"},
           });
}

TEST(BuildVmTest, Vw13KeepsWhatTheSourceDoesNotDetermine) {  // DECISION-M2
  Scene s = vmware();
  const auto match = find_template(builtin_templates(), "win11", s.vm);
  ASSERT_TRUE(match);
  s.base = *process_template(*match, "myvm");
  s.base.json()["spec"]["running"] = true;
  s.base.json()["metadata"]["annotations"]["kept"] = "yes";
  json& base = s.base.json()["spec"]["template"]["spec"];
  base["networks"] = {{{"name", "of-template"}, {"pod", json::object()}}};
  base["domain"]["devices"]["interfaces"] = {{{"name", "of-template"}, {"bridge", json::object()}}};
  s.os = "win11";
  const kube::Object vm = s.build();
  const json& spec = vm.json()["spec"];
  const json& domain = spec["template"]["spec"]["domain"];
  EXPECT_FALSE(spec.contains("running"));
  EXPECT_EQ(spec["runStrategy"], "Halted");
  EXPECT_TRUE(domain["features"].contains("hyperv"));
  EXPECT_TRUE(domain["clock"]["timer"].contains("hyperv"));
  EXPECT_TRUE(domain["devices"].contains("tpm"));
  EXPECT_EQ(spec["template"]["spec"]["terminationGracePeriodSeconds"], 3600);
  EXPECT_EQ(vm.annotation("kept"), "yes");
  EXPECT_EQ(domain["devices"]["interfaces"].size(), 1u);
  EXPECT_EQ(spec["template"]["spec"]["networks"].size(), 1u);
  EXPECT_EQ(vm.json().dump().find("of-template"), std::string::npos);
}

TEST(BuildVmTest, MarksWhatIsOurs_Lc37And39And40) {
  Scene s = ovirt();
  json& metadata = s.import.object.json()["metadata"];
  metadata["labels"][std::string(api::kTracker)] = "t-1";
  metadata["annotations"][std::string(api::kPropagateAnnotations)] =
      R"({"a":"1","comment":"x","n":2})";
  const kube::Object vm = s.build();
  EXPECT_EQ(vm.labels()[std::string(api::kTracker)], "t-1");
  EXPECT_EQ(vm.labels()[std::string(api::kImportUid)], kUid);
  EXPECT_TRUE(vm.controlled_by(kUid));
  EXPECT_EQ(vm.annotation("a"), "1");
  EXPECT_EQ(vm.annotation("comment"), "vmcomment");  // not overwritten
  EXPECT_FALSE(vm.annotation("n"));
  EXPECT_EQ(vm.api_version(), "kubevirt.io/v1");
}

TEST(BuildVmTest, ReferencesDataVolumesWhereTheyExist) {
  const Scene s = vmware();
  const BuildInput input{s.import, s.vm, s.mappings, s.base, "myvm", "", {"c1", "c2"}, true, false};
  EXPECT_EQ(
      build_vm(input).json()["spec"]["template"]["spec"]["volumes"],
      json::parse(
          R"([{"name":"dv-c1","dataVolume":{"name":"c1"}},{"name":"dv-c2","dataVolume":{"name":"c2"}}])"));
}

TEST(BuildVmTest, IsDeterministicAndIgnoresTheOrderOfMappings) {
  Scene s = ovirt();
  std::vector<api::NetworkMappingItem> items;
  for (int i = 0; i < 8; ++i) {
    s.vm.nics.push_back(nic("p" + std::to_string(i), "nic"));
    items.push_back(net("p" + std::to_string(i), "multus", "t" + std::to_string(i)));
  }
  s.mappings.networks = items;
  const kube::Object expected = s.build();
  std::mt19937 random(5);
  for (int i = 0; i < 20; ++i) {
    std::shuffle(s.mappings.networks->begin(), s.mappings.networks->end(), random);
    EXPECT_EQ(s.build(), expected);
  }
}

TEST(InterfaceNamesTest, AreUniqueLabelsForAnyText) {
  std::mt19937 random(9);
  std::uniform_int_distribution<int> byte(0, 255), length(0, 80);
  for (int round = 0; round < 300; ++round) {
    std::vector<SourceNic> nics(6);
    std::vector<const SourceNic*> pointers;
    for (SourceNic& one : nics) {
      one.name.assign(static_cast<std::size_t>(length(random)) * (byte(random) % 2), 'n');
      for (char& c : one.name) {
        if (byte(random) % 3 == 0) c = static_cast<char>(byte(random));
      }
      pointers.push_back(&one);
    }
    const auto names = interface_names(ProviderKind::Ovirt, pointers);
    EXPECT_EQ(std::set(names.begin(), names.end()).size(), nics.size());
    for (const std::string& name : names) EXPECT_TRUE(is_dns1123_label(name)) << name;
  }
}

}  // namespace
}  // namespace vmferry::imports
