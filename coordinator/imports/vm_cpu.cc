#include <algorithm>

#include "common/bytes.h"
#include "coordinator/imports/names.h"
#include "coordinator/imports/vm_parts.h"

namespace vmferry::imports {

namespace {

using nlohmann::json;

// oVirt counts in KiB. Sizes that no x86 or POWER host has are left out, and so are pages that do
// not divide the memory, which KubeVirt refuses.
std::optional<std::string> hugepage_size(const SourceVm& vm) {
  if (!vm.hugepages_kib) return std::nullopt;
  constexpr std::uint64_t kKnown[] = {2048, 16384, 1048576, 16777216};
  for (const std::uint64_t kib : kKnown) {
    if (kib == *vm.hugepages_kib && vm.memory_bytes % (kib * kKiB) == 0) {
      return format_quantity(kib * kKiB);
    }
  }
  return std::nullopt;
}

// Whose processor the VM will run on is not known here. A feature that the target's has not is left
// out; what the template says of one stands.
void allow_nested(json& cpu) {
  json& features = cpu["features"];
  if (!features.is_array()) features = json::array();
  for (const char* name : {"vmx", "svm"}) {
    const bool there = std::ranges::any_of(features, [name](const json& feature) {
      return feature.is_object() && feature.value("name", json()) == name;
    });
    if (!there) features.push_back({{"name", name}, {"policy", "optional"}});
  }
}

}  // namespace

void build_cpu(const SourceVm& vm, json& domain) {
  json& cpu = object_at(domain, "cpu");
  if (vm.cpu_cores || vm.cpu_sockets || vm.cpu_threads) {
    for (const char* key : {"cores", "sockets", "threads", "maxSockets"}) cpu.erase(key);
    if (vm.cpu_cores) cpu["cores"] = *vm.cpu_cores;
    if (vm.cpu_sockets) cpu["sockets"] = *vm.cpu_sockets;
    if (vm.cpu_threads) cpu["threads"] = *vm.cpu_threads;
  }
  if (!vm.cpu_model.empty()) cpu["model"] = vm.cpu_model;
  if (vm.cpu_dedicated) {
    cpu["dedicatedCpuPlacement"] = true;
  } else {
    // The two others are refused without dedicated CPUs.
    for (const char* key : {"dedicatedCpuPlacement", "isolateEmulatorThread", "numa"}) {
      cpu.erase(key);
    }
  }
  if (vm.nested_virtualization) allow_nested(cpu);
  if (cpu.empty()) domain.erase("cpu");
}

void build_memory(const SourceVm& vm, json& domain) {
  if (vm.memory_bytes == 0) return;
  const std::string quantity = format_quantity(vm.memory_bytes);
  json& memory = object_at(domain, "memory");
  // Always set: current common templates size the guest here, and would win over a request.
  memory["guest"] = quantity;
  memory.erase("maxGuest");
  if (const std::optional<std::string> page = hugepage_size(vm)) {
    memory["hugepages"] = {{"pageSize", *page}};
  }

  json& resources = object_at(domain, "resources");
  object_at(resources, "requests")["memory"] = quantity;
  if (vm.cpu_dedicated) {
    object_at(resources, "limits")["memory"] = quantity;  // pinning needs the Guaranteed class
  } else if (resources.contains("limits") && resources["limits"].is_object()) {
    resources["limits"].erase("memory");  // made for the template's size
    if (resources["limits"].empty()) resources.erase("limits");
  }
}

}  // namespace vmferry::imports
