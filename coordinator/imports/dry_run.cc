#include "coordinator/imports/dry_run.h"

#include <algorithm>

#include "coordinator/imports/mapping.h"
#include "coordinator/imports/validation_parts.h"

namespace vmferry::imports {
namespace {

using nlohmann::json;

std::string selector_text(const api::Selector& selector) {
  if (selector.id && !selector.id->empty()) return fmt::format("id '{}'", *selector.id);
  return fmt::format("name '{}'", selector.name.value_or(""));
}

// Items of the import come before those of its ResourceMapping, and replace what they equal there:
// an item that the import has is the import's.
template <typename Item>
std::string item_text(const Item& item, const std::optional<std::vector<Item>>& own,
                      std::string_view list, const api::VirtualMachineImport& import) {
  const bool is_own = own && std::ranges::find(*own, item) != own->end();
  const auto& external = import.spec.resource_mapping;
  const std::string where = is_own || !external
                                ? std::string("the import's")
                                : fmt::format("ResourceMapping {}/{}'s",
                                              external->ns_or(import.object.ns()), external->name);
  return fmt::format("{} {}, {}", where, list, selector_text(item.source));
}

const api::Mappings& own_mappings(const api::VirtualMachineImport& import) {
  static const api::Mappings none;
  const auto& source = import.spec.ovirt ? import.spec.ovirt : import.spec.vmware;
  return source && source->mappings ? *source->mappings : none;
}

std::string first_of(const std::vector<std::string>& names, const std::vector<std::string>& ids) {
  if (!names.empty()) return names.front();
  return ids.empty() ? std::string() : ids.front();
}

DryRunNic explain_nic(const DryRunInput& input, const SourceNic& nic, bool imported) {
  DryRunNic line{.name = nic.name,
                 .mac = nic.mac,
                 .model = nic.model,
                 .network = first_of(nic.network_names, nic.network_ids),
                 .target = {},
                 .why = {}};
  if (!imported) {
    line.why = nic.plugged ? "left out: it is on no network" : "left out: it is unplugged";
    return line;
  }
  const auto choice = resolve_network(input.mappings, nic, input.import.object.ns());
  const api::NetworkMappingItem* item = network_item(input.mappings, nic);
  if (!choice || item == nullptr) {
    line.why = "no network mapping fits";
    return line;
  }
  line.target = choice->multus ? "multus " + choice->attachment.to_string() : "pod network";
  line.why = item_text(*item, own_mappings(input.import).networks, "networkMappings", input.import);
  return line;
}

std::vector<DryRunNic> explain_nics(const DryRunInput& input) {
  const std::vector<const SourceNic*> imported = imported_nics(*input.source);
  std::vector<DryRunNic> lines;
  for (const SourceNic& nic : input.source->nics) {
    const bool taken = std::ranges::find(imported, &nic) != imported.end();
    lines.push_back(explain_nic(input, nic, taken));
  }
  return lines;
}

std::string storage_why(const DryRunInput& input, const SourceDisk& disk) {
  const api::StorageMappingItem* item = storage_item(input.mappings, disk);
  if (item == nullptr) return "no mapping fits: the default class";
  const StorageChoice choice = resolve_storage(input.mappings, *input.source, disk);
  const api::Mappings& own = own_mappings(input.import);
  std::string why = choice.by == MappedBy::Disk
                        ? item_text(*item, own.disks, "diskMappings", input.import)
                        : item_text(*item, own.storage, "storageMappings", input.import);
  if (item->target.name.empty()) why += ": \"\" asks for the default class";
  return why;
}

std::vector<DryRunDisk> explain_disks(const DryRunInput& input) {
  std::vector<DryRunDisk> lines;
  for (const PlannedDisk& planned : input.disks) {
    const auto disk = std::ranges::find(input.source->disks, planned.source_id, &SourceDisk::id);
    if (disk == input.source->disks.end()) continue;
    lines.push_back({.planned = planned,
                     .storage = disk->storage_name.empty() ? disk->storage_id : disk->storage_name,
                     .effective_class = input.facts.effective_class(planned.storage_class),
                     .why = storage_why(input, *disk),
                     .allocated_bytes = disk->allocated_bytes});
  }
  return lines;
}

Estimate estimate_of(const std::vector<DryRunDisk>& disks, double bytes_per_second) {
  Estimate estimate;
  for (const DryRunDisk& disk : disks) {
    const std::uint64_t size = disk.planned.size_bytes;
    estimate.virtual_bytes += size;
    estimate.to_copy_bytes += std::min(disk.allocated_bytes.value_or(size), size);
    estimate.all_known = estimate.all_known && disk.allocated_bytes.has_value();
  }
  if (bytes_per_second > 0) {
    estimate.seconds = static_cast<double>(estimate.to_copy_bytes) / bytes_per_second;
  }
  return estimate;
}

Verdict verdict_of(const DryRun& run) {
  const bool blocked = std::ranges::any_of(
      run.findings, [](const Finding& finding) { return finding.level == FindingLevel::Block; });
  if (blocked) return Verdict::Blocked;
  return run.unknown_why.empty() ? Verdict::Runs : Verdict::Unknown;
}

json source_json(const SourceVm& vm) {
  return {{"provider", to_string(vm.provider)}, {"id", vm.id},
          {"nativeId", vm.native_id},           {"name", vm.name},
          {"path", vm.inventory_path},          {"power", to_string(vm.power)},
          {"memoryBytes", vm.memory_bytes}};
}

json disk_json(const DryRunDisk& disk) {
  return {{"name", disk.planned.name},
          {"id", disk.planned.source_id},
          {"sourceStorage", disk.storage},
          {"storageClass", disk.effective_class},
          {"volumeMode", disk.planned.volume_mode},
          {"accessMode", disk.planned.access_mode},
          {"claim", disk.planned.claim},
          {"sizeBytes", disk.planned.size_bytes},
          {"claimBytes", disk.planned.request_bytes},
          {"allocatedBytes", disk.allocated_bytes ? json(*disk.allocated_bytes) : json()},
          {"why", disk.why}};
}

json nic_json(const DryRunNic& nic) {
  return {{"name", nic.name},       {"mac", nic.mac},       {"model", nic.model},
          {"network", nic.network}, {"target", nic.target}, {"why", nic.why}};
}

json finding_json(const Finding& finding) {
  return {{"rule", finding.rule},
          {"level", to_string(finding.level)},
          {"text", finding.text},
          {"remedy", finding.remedy}};
}

}  // namespace

std::string_view to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::Runs:
      return "would run";
    case Verdict::Blocked:
      return "blocked";
    case Verdict::Unknown:
      return "could not tell";
  }
  return "could not tell";
}

DryRun dry_run(DryRunInput input) {
  DryRun run;
  run.import = input.import.object.key();
  run.findings = std::move(input.findings);
  std::ranges::stable_sort(run.findings, std::greater(), &Finding::level);
  run.unknown_why = std::move(input.unknown_why);
  if (input.source) {
    run.nics = explain_nics(input);
    run.disks = explain_disks(input);
    run.estimate = estimate_of(run.disks, input.bytes_per_second);
  }
  run.source = std::move(input.source);
  run.vm_name = std::move(input.vm_name);
  run.os = std::move(input.os);
  run.os_why = std::move(input.os_why);
  run.template_note = std::move(input.template_note);
  run.vm = std::move(input.vm);
  run.verdict = verdict_of(run);
  return run;
}

json to_json(const DryRun& run) {
  json result{{"import", run.import.to_string()},
              {"verdict", to_string(run.verdict)},
              {"targetVmName", run.vm_name},
              {"os", {{"name", run.os}, {"why", run.os_why}}},
              {"template", run.template_note},
              {"source", run.source ? source_json(*run.source) : json()},
              {"virtualMachine", run.vm ? run.vm->json() : json()},
              {"estimate",
               {{"virtualBytes", run.estimate.virtual_bytes},
                {"toCopyBytes", run.estimate.to_copy_bytes},
                {"allocationKnown", run.estimate.all_known},
                {"seconds", run.estimate.seconds}}}};
  if (!run.unknown_why.empty()) result["unknownWhy"] = run.unknown_why;
  for (const char* list : {"findings", "networks", "disks", "notes"}) result[list] = json::array();
  for (const Finding& finding : run.findings) result["findings"].push_back(finding_json(finding));
  for (const DryRunNic& nic : run.nics) result["networks"].push_back(nic_json(nic));
  for (const DryRunDisk& disk : run.disks) result["disks"].push_back(disk_json(disk));
  for (const std::string& note : run.notes) result["notes"].push_back(note);
  return result;
}

}  // namespace vmferry::imports
