#include "coordinator/imports/plan.h"

#include <algorithm>

#include "coordinator/imports/names.h"
#include "coordinator/imports/sizes.h"
#include "coordinator/imports/storage_choice.h"

namespace vmferry::imports {
namespace {

nlohmann::json to_json(const PlannedDisk& disk) {
  return {{"sourceId", disk.source_id},
          {"name", disk.name},
          {"claim", disk.claim},
          {"storageClass", disk.storage_class},
          {"volumeMode", disk.volume_mode},
          {"accessMode", disk.access_mode},
          {"sizeBytes", disk.size_bytes},
          {"requestBytes", disk.request_bytes}};
}

PlannedDisk disk_from_json(const nlohmann::json& json) {
  return {.source_id = json.at("sourceId").get<std::string>(),
          .name = json.at("name").get<std::string>(),
          .claim = json.at("claim").get<std::string>(),
          .storage_class = json.at("storageClass").get<std::string>(),
          .volume_mode = json.at("volumeMode").get<std::string>(),
          .access_mode = json.at("accessMode").get<std::string>(),
          .size_bytes = json.at("sizeBytes").get<std::uint64_t>(),
          .request_bytes = json.at("requestBytes").get<std::uint64_t>()};
}

}  // namespace

nlohmann::json to_json(const ImportPlan& plan) {
  nlohmann::json disks = nlohmann::json::array();
  for (const PlannedDisk& disk : plan.disks) disks.push_back(to_json(disk));
  return {{"vmName", plan.vm_name},
          {"sourceNativeId", plan.source_native_id},
          {"templateNote", plan.template_note},
          {"disks", disks},
          {"vm", plan.vm},
          {"dataVolumes", plan.data_volumes}};
}

Result<ImportPlan> plan_from_json(const nlohmann::json& json) {
  try {
    ImportPlan plan{.vm_name = json.at("vmName").get<std::string>(),
                    .source_native_id = json.at("sourceNativeId").get<std::string>(),
                    .template_note = json.at("templateNote").get<std::string>(),
                    .disks = {},
                    .vm = json.at("vm"),
                    .data_volumes = json.value("dataVolumes", false)};
    for (const auto& disk : json.at("disks")) plan.disks.push_back(disk_from_json(disk));
    return plan;
  } catch (const nlohmann::json::exception& failure) {
    return make_error(ErrorKind::DataLoss, "the stored import plan is damaged: {}", failure.what());
  }
}

std::vector<PlannedDisk> plan_disks(const std::string& import_uid, const SourceVm& vm,
                                    const api::Mappings& mappings, const ClusterFacts& facts) {
  std::vector<PlannedDisk> planned;
  for (const SourceDisk& disk : vm.disks) {
    const StorageChoice choice = choose_storage(mappings, vm, disk, facts);
    const std::string effective = facts.effective_class(choice.storage_class);
    const std::uint64_t least = minimum_claim_bytes(facts, effective);
    const bool block = choice.volume_mode == "Block";
    planned.push_back(
        {.source_id = disk.id,
         .name = disk.name,
         .claim = claim_name(import_uid, vm, disk),
         .storage_class = choice.storage_class,
         .volume_mode = choice.volume_mode,
         .access_mode = choice.access_mode,
         .size_bytes = disk.size_bytes,
         .request_bytes =
             std::max(least, claim_size(disk.size_bytes, overhead_for(facts, effective), block))});
  }
  return planned;
}

std::string plan_config_map_name(const std::string& import_uid) {
  return "vmferry-plan-" + import_uid;
}

}  // namespace vmferry::imports
