#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "coordinator/imports/vm_builder.h"

// The parts of build_vm(), one file each. DECISION-M2 holds for all: they overwrite what the source
// determines and keep the rest of the base. `spec` is spec.template.spec, `domain` its domain; both
// are objects, `domain` with an object "devices".
namespace vmferry::imports {

// The member as an object; what stands there of another type is replaced.
nlohmann::json& object_at(nlohmann::json& parent, const char* key);

// The VM's first three letters of the OS name decide, as everywhere (os-and-templates.md 2.3).
bool is_windows(const std::string& os);

void build_metadata(const BuildInput& input, nlohmann::json& vm);    // vm_metadata.cc
void build_hostname(const BuildInput& input, nlohmann::json& spec);  // vm_metadata.cc
void build_cpu(const SourceVm& vm, nlohmann::json& domain);          // vm_cpu.cc
void build_memory(const SourceVm& vm, nlohmann::json& domain);       // vm_cpu.cc
void build_firmware(const SourceVm& vm, nlohmann::json& domain);     // vm_firmware.cc
void build_clock(const SourceVm& vm, nlohmann::json& domain);        // vm_firmware.cc
void build_devices(const SourceVm& vm, const std::string& os,
                   nlohmann::json& domain);  // vm_devices.cc

// Names of the interfaces, one per NIC of `nics`: labels, unique (mapping-ovirt.md 2.4,
// mapping-vmware.md 2.3).
std::vector<std::string> interface_names(ProviderKind provider,
                                         const std::vector<const SourceNic*>& nics);
// The NICs that the target gets, in the order of its interfaces.
std::vector<const SourceNic*> target_nics(const BuildInput& input);  // vm_network.cc
void build_networks(const BuildInput& input, nlohmann::json& spec);  // vm_network.cc
void build_disks(const BuildInput& input, nlohmann::json& spec);     // vm_disks.cc
// After networks and disks, whose entries it numbers.
void build_boot_order(const BuildInput& input, nlohmann::json& devices);  // vm_boot_order.cc

}  // namespace vmferry::imports
