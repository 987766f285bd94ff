#include <algorithm>
#include <set>

#include "coordinator/imports/mapping_fix.h"
#include "coordinator/imports/validation_parts.h"
#include "coordinator/rules/findings.h"

namespace vmferry::imports {

namespace {

std::string known_classes(const ClusterFacts& facts) {
  if (facts.storage_classes.empty()) return "the cluster has none";
  std::vector<std::string> names;
  for (const auto& [name, storage_class] : facts.storage_classes) names.push_back(name);
  return fmt::format("the cluster has: {}", fmt::join(names, ", "));
}

std::string suggested_class(const ClusterFacts& facts) {
  return facts.storage_classes.empty() ? "STORAGE-CLASS" : facts.storage_classes.begin()->first;
}

bool is_mapped(const SourceVm& vm, const api::Mappings& mappings, const SourceDisk& disk) {
  return resolve_storage(mappings, vm, disk).by != MappedBy::Nothing;
}

// One piece of YAML serves all of the disks that no mapping fits.
void check_one_default(const SourceVm& vm, const api::Mappings& mappings,
                       const std::vector<const SourceDisk*>& disks, const std::string& name,
                       rules::Findings& findings) {
  std::vector<const SourceDisk*> unmapped;
  for (const SourceDisk* disk : disks) {
    const std::string text = named(disk->name, disk->id);
    if (is_mapped(vm, mappings, *disk)) {
      findings.add_of(vm.provider, "storage.target.default/asked",
                      "vmware.storage.target.default/asked", text, name);
    } else {
      unmapped.push_back(disk);
    }
  }
  for (const SourceDisk* disk : unmapped) {
    const SourceDisk& first = *unmapped.front();
    findings.add_of(vm.provider, "storage.target.default", "vmware.storage.target.default",
                    named(disk->name, disk->id), name,
                    disk == &first
                        ? to_yaml(vm.provider, fix_storage(vm, mappings, unmapped, name))
                        : "see the mappings given for disk " + named(first.name, first.id));
  }
}

void check_default(const SourceVm& vm, const api::Mappings& mappings,
                   const std::vector<const SourceDisk*>& disks, const ClusterFacts& facts,
                   rules::Findings& findings) {
  if (disks.empty()) return;
  const kube::DefaultClass found = facts.default_class();
  if (const std::string name = found.name(); !name.empty()) {
    return check_one_default(vm, mappings, disks, name, findings);
  }
  std::vector<std::string> names;
  for (const SourceDisk* disk : disks) names.push_back(named(disk->name, disk->id));
  const std::string all = fmt::format("{}", fmt::join(names, ", "));
  const std::string yaml =
      to_yaml(vm.provider, fix_storage(vm, mappings, disks, suggested_class(facts)));
  if (found.none()) {
    findings.add_of(vm.provider, "storage.target.default/none",
                    "vmware.storage.target.default/none", all, yaml);
  } else {
    findings.add_of(vm.provider, "storage.target.default/several",
                    "vmware.storage.target.default/several", all, found.names.size(),
                    fmt::format("{}", fmt::join(found.names, ", ")), yaml);
  }
}

}  // namespace

std::vector<Finding> check_storage(const SourceVm& vm, const api::Mappings& mappings,
                                   const ClusterFacts& facts) {
  rules::Findings findings;
  std::vector<const SourceDisk*> to_default;
  std::set<std::tuple<std::string, std::string, std::string>> domains;  // reported once each
  for (const SourceDisk& disk : vm.disks) {
    const StorageChoice choice = resolve_storage(mappings, vm, disk);
    if (choice.storage_class.empty()) {
      to_default.push_back(&disk);
      continue;
    }
    if (facts.storage_classes.contains(choice.storage_class)) continue;
    const bool by_disk = choice.by == MappedBy::Disk;
    if (!by_disk &&
        !domains.insert({disk.storage_name, disk.storage_id, choice.storage_class}).second) {
      continue;
    }
    const std::string source =
        by_disk ? "disk " + named(disk.name, disk.id)
                : fmt::format("{} {}",
                              vm.provider == ProviderKind::Ovirt ? "storage domain" : "datastore",
                              named(disk.storage_name, disk.storage_id));
    const std::string yaml =
        to_yaml(vm.provider, fix_storage(vm, mappings, {&disk}, suggested_class(facts)));
    if (by_disk) {
      findings.add_of(vm.provider, "disk.target", "vmware.disk.target", choice.storage_class,
                      source, known_classes(facts), yaml);
    } else {
      findings.add_of(vm.provider, "storage.target", "vmware.storage.target", choice.storage_class,
                      source, known_classes(facts), yaml);
    }
  }
  check_default(vm, mappings, to_default, facts, findings);
  return findings.take();
}

}  // namespace vmferry::imports
