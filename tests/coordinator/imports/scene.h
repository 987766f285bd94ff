#pragma once

#include <optional>
#include <string>

#include "coordinator/imports/decision.h"
#include "coordinator/imports/names.h"
#include "coordinator/imports/templates.h"
#include "coordinator/imports/vm_builder.h"

// Scenes name only the fields that they are about.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

// An import, its source and its mappings, as the specification's conformance cases start from.
namespace vmferry::imports::scenes {

using nlohmann::json;

inline const char* const kUid = "d39a8d6c-ea37-5c91-8979-334e7e07cab6";
inline constexpr std::uint64_t kGib = std::uint64_t{1} << 30;

inline api::NetworkMappingItem net(const std::string& id, std::optional<std::string> type,
                                   const std::string& target = "net-attach-def") {
  api::NetworkMappingItem item;
  item.source.id = id;
  item.type = std::move(type);
  item.target.name = target;
  return item;
}

inline SourceNic nic(const std::string& id, const std::string& name) {
  SourceNic one;
  one.id = one.mac = id;
  one.name = name;
  one.model = "virtio";
  one.network_ids = {id};
  one.network_names = {"net/" + id};
  return one;
}

// What a test changes, and the VM made of it.
struct Scene {
  api::VirtualMachineImport import;
  SourceVm vm;
  api::Mappings mappings;
  kube::Object base = empty_base_vm("myvm");
  std::string os = "rhel8.1";
  bool converted = false;

  kube::Object build() const {
    BuildInput input{import, vm, mappings, base, "myvm", os, {}, false, converted};
    for (const SourceDisk& disk : vm.disks) input.claims.push_back(claim_name(kUid, vm, disk));
    return build_vm(input);
  }
  // The whole rulebook, in a cluster of these properties; the OS is detected.
  ClusterFacts facts;
  api::ControllerConfig config;
  UserOsMaps os_maps;
  std::vector<Finding> mapping_findings;
  Result<ImportDecision> decide() const {
    return decide_import({import, vm, mappings, facts, config, os_maps, mapping_findings});
  }

  json spec() const { return build().json()["spec"]["template"]["spec"]; }
  json domain() const { return spec()["domain"]; }
};

inline Scene scene() {
  Scene s;
  s.import.object =
      kube::Object(json{{"apiVersion", "v2v.kubevirt.io/v1beta1"},
                        {"kind", "VirtualMachineImport"},
                        {"metadata", {{"namespace", "ns"}, {"name", "import"}, {"uid", kUid}}}});
  s.import.spec.credentials_secret.name = "secret";
  // Plain Kubernetes: the built-in templates count; one default class.
  s.facts.has_template_api = false;
  s.facts.storage_classes["standard"] = kube::Object(json::parse(R"({"metadata": {
      "name": "standard",
      "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}})"));
  s.os_maps.maps = configured_os_maps(s.config);
  return s;
}

// The base fixture of mapping-ovirt 8.
inline Scene ovirt() {
  Scene s = scene();
  s.vm.provider = ProviderKind::Ovirt;
  s.import.spec.ovirt = api::SourceSection{.vm_id = "id", .mappings = {}};
  s.vm.name = "myvm";
  s.vm.os_type = "rhel_8x64";
  s.vm.workload = "server";
  s.vm.firmware = Firmware::Bios;
  s.vm.architecture = "x86_64";
  s.vm.cpu_cores = 1;
  s.vm.cpu_sockets = 2;
  s.vm.cpu_threads = 4;
  s.vm.memory_bytes = kGib;
  s.vm.high_availability = true;
  s.vm.hugepages_kib = 2048;
  s.vm.sso = "guest_agent";
  s.vm.origin = "ovirt";
  s.vm.instance_type = "server";
  s.vm.comment = "vmcomment";
  return s;
}

// The reference VM of mapping-vmware 8.
inline Scene vmware() {
  Scene s = scene();
  s.vm.provider = ProviderKind::Vmware;
  s.import.spec.vmware = api::SourceSection{.vm_id = "id", .mappings = {}};
  s.vm.name = "two-disk";
  s.vm.os_type = "rhel8_64Guest";
  s.vm.firmware = Firmware::Efi;
  s.vm.cpu_cores = 1;
  s.vm.cpu_sockets = 4;
  s.vm.memory_bytes = 2 * kGib;
  s.vm.utc_offset_seconds = 3600;
  s.vm.serial = "5023-serial";
  s.vm.firmware_uuid = "42301f3a-0000-4000-8000-00505601a2b3";
  s.vm.description = "a test";
  s.vm.host_name = "WEB1.lab.local";
  SourceNic one = nic("network-7", "ethernet-0");
  one.mac = "00:0c:29:5b:62:35";
  one.attachment = NicAttachment::Standard;
  one.network_names = {"VM Network"};
  s.vm.nics = {one};
  s.vm.disks = {
      {.id = "202-0", .attachment_id = "203", .name = "disk-202-0", .size_bytes = 2 * kGib},
      {.id = "202-1", .attachment_id = "205", .name = "disk-202-1", .size_bytes = kGib}};
  s.mappings.networks = {{net("network-7", "pod")}};
  return s;
}

}  // namespace vmferry::imports::scenes
