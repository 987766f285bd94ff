#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/result.h"
#include "coordinator/api/import.h"
#include "coordinator/imports/cluster_facts.h"
#include "coordinator/imports/mapping.h"
#include "coordinator/kube/object.h"
#include "coordinator/provider/source_vm.h"

namespace vmferry::imports {

// One disk's decided target.
struct PlannedDisk {
  std::string source_id;  // SourceDisk::id
  std::string name;       // SourceDisk::name
  std::string claim;
  std::string storage_class;  // empty: the default class
  std::string volume_mode;    // Filesystem, Block
  std::string access_mode;
  std::uint64_t size_bytes = 0;
  std::uint64_t request_bytes = 0;  // with overhead
  friend bool operator==(const PlannedDisk&, const PlannedDisk&) = default;
};

// What an import will do, decided once after validation and then kept (in a ConfigMap), so that a
// later change of mappings, templates or classes cannot alter a running import half-way (W18).
struct ImportPlan {
  std::string vm_name;
  std::string source_native_id;
  std::string template_note;       // which template and why
  std::vector<PlannedDisk> disks;  // in source order
  nlohmann::json vm;               // the VirtualMachine as it will be created
  bool data_volumes = false;       // finished claims are adopted by DataVolumes of their names
  friend bool operator==(const ImportPlan&, const ImportPlan&) = default;
};

nlohmann::json to_json(const ImportPlan& plan);
Result<ImportPlan> plan_from_json(const nlohmann::json& json);

// The disks' targets; pure.
std::vector<PlannedDisk> plan_disks(const std::string& import_uid, const SourceVm& vm,
                                    const api::Mappings& mappings, const ClusterFacts& facts);

// The object that keeps the plan.
std::string plan_config_map_name(const std::string& import_uid);

}  // namespace vmferry::imports
