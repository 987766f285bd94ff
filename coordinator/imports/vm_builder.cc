#include "coordinator/imports/vm_builder.h"

#include "coordinator/imports/vm_parts.h"
#include "coordinator/kube/optional_types.h"

namespace vmferry::imports {

using nlohmann::json;

bool is_windows(const std::string& os) {
  const auto is = [&os](std::size_t at, char lower) { return (os[at] | 0x20) == lower; };
  return os.size() >= 3 && is(0, 'w') && is(1, 'i') && is(2, 'n');
}

kube::Object build_vm(const BuildInput& input) {
  json vm = input.base.json();
  if (!vm.is_object()) vm = json::object();
  build_metadata(input, vm);

  json& vm_spec = object_at(vm, "spec");
  // `running` and `runStrategy` exclude each other. Halted until the start step, so that KubeVirt
  // never boots a VM whose import has not ended, whatever the template or the source's HA flag say.
  vm_spec.erase("running");
  vm_spec["runStrategy"] = "Halted";
  // The disks are ours, and an instance type would contradict the source's CPU and memory.
  vm_spec.erase("dataVolumeTemplates");
  vm_spec.erase("instancetype");
  if (!input.instancetype.empty()) {
    vm_spec["instancetype"] = {{"kind", kube::types::kClusterInstancetype.kind},
                               {"name", input.instancetype}};
  }

  json& spec = object_at(object_at(vm_spec, "template"), "spec");
  json& domain = object_at(spec, "domain");
  object_at(domain, "devices");
  build_hostname(input, spec);
  if (input.instancetype.empty()) {
    build_cpu(input.vm, domain);
    build_memory(input.vm, domain);
  } else {  // KubeVirt refuses both beside an instance type
    for (const char* key : {"cpu", "memory", "resources"}) domain.erase(key);
  }
  build_firmware(input.vm, domain);
  build_clock(input.vm, domain);
  build_devices(input.vm, input.os, domain);
  build_networks(input, spec);
  build_disks(input, spec);
  build_boot_order(input, domain["devices"]);

  if (!input.vm.eviction.empty()) {
    spec["evictionStrategy"] = input.vm.eviction;
  } else if (input.vm.live_migratable) {
    spec["evictionStrategy"] = "LiveMigrate";
  }
  return kube::Object(std::move(vm));
}

}  // namespace vmferry::imports
