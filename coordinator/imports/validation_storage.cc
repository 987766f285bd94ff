#include <algorithm>
#include <set>

#include "coordinator/imports/validation_parts.h"

namespace vmferry::imports {

namespace {

std::string known_classes(const ClusterFacts& facts) {
  if (facts.storage_classes.empty()) return "the cluster has none";
  std::vector<std::string> names;
  for (const auto& [name, storage_class] : facts.storage_classes) names.push_back(name);
  return fmt::format("the cluster has: {}", fmt::join(names, ", "));
}

struct SnippetItem {
  std::string name, id;
  auto operator<=>(const SnippetItem&) const = default;
};

std::string items_text(const char* list, const std::vector<SnippetItem>& items,
                       const std::string& storage_class) {
  std::string text = fmt::format("{}:", list);
  for (const SnippetItem& item : items) {
    const bool by_name = !item.name.empty();
    text += fmt::format("\n- source: {{{}: {}}}\n  target: {{name: {}}}", by_name ? "name" : "id",
                        yaml_quoted(by_name ? item.name : item.id), yaml_quoted(storage_class));
  }
  return text;
}

// Items in order of the disks, each once.
std::vector<SnippetItem> distinct(const std::vector<SnippetItem>& items) {
  std::vector<SnippetItem> result;
  for (const SnippetItem& item : items) {
    if (std::ranges::find(result, item) == result.end()) result.push_back(item);
  }
  return result;
}

std::string suggested_class(const ClusterFacts& facts) {
  return facts.storage_classes.empty() ? "STORAGE-CLASS" : facts.storage_classes.begin()->first;
}

void check_default(const SourceVm& vm, const std::vector<const SourceDisk*>& disks,
                   const ClusterFacts& facts, std::vector<Finding>& findings) {
  if (disks.empty()) return;
  const std::string rule = rule_id(vm.provider, "storage.target.default");
  const kube::DefaultClass found = facts.default_class();
  if (const std::string name = found.name(); !name.empty()) {
    for (const SourceDisk* disk : disks) {
      findings.push_back({rule, FindingLevel::Warn, FindingGroup::Mapping,
                          fmt::format("disk {} goes to the default storage class '{}'",
                                      named(disk->name, disk->id), name),
                          storage_snippet(vm, {disk}, name)});
    }
    return;
  }
  std::vector<std::string> names;
  for (const SourceDisk* disk : disks) names.push_back(named(disk->name, disk->id));
  const std::string problem = found.none()
                                  ? "the cluster has no default one"
                                  : fmt::format("the cluster has {} default ones ({})",
                                                found.names.size(), fmt::join(found.names, ", "));
  findings.push_back({rule, FindingLevel::Block, FindingGroup::Mapping,
                      fmt::format("no storage class is mapped for disk {}, and {}",
                                  fmt::join(names, ", "), problem),
                      fmt::format("annotate exactly one StorageClass with "
                                  "storageclass.kubernetes.io/is-default-class: \"true\", or {}",
                                  storage_snippet(vm, disks, suggested_class(facts)))});
}

}  // namespace

std::string disk_snippet(const SourceVm& vm, const std::vector<const SourceDisk*>& disks,
                         const std::string& storage_class) {
  std::vector<SnippetItem> items;
  for (const SourceDisk* disk : disks) items.push_back({disk->name, disk->id});
  return fmt::format("add to spec.source.{}.mappings:\n{}", to_string(vm.provider),
                     items_text("diskMappings", distinct(items), storage_class));
}

std::string storage_snippet(const SourceVm& vm, const std::vector<const SourceDisk*>& disks,
                            const std::string& storage_class) {
  std::vector<SnippetItem> storages, alone;
  for (const SourceDisk* disk : disks) {
    if (!disk->storage_name.empty() || !disk->storage_id.empty()) {
      storages.push_back({disk->storage_name, disk->storage_id});
    } else {
      alone.push_back({disk->name, disk->id});
    }
  }
  std::string text = fmt::format("add to spec.source.{}.mappings:", to_string(vm.provider));
  if (!storages.empty()) {
    text += "\n" + items_text("storageMappings", distinct(storages), storage_class);
  }
  if (!alone.empty()) text += "\n" + items_text("diskMappings", distinct(alone), storage_class);
  return text;
}

std::vector<Finding> check_storage(const SourceVm& vm, const api::Mappings& mappings,
                                   const ClusterFacts& facts) {
  std::vector<Finding> findings;
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
    findings.push_back(
        {rule_id(vm.provider, by_disk ? "disk.target" : "storage.target"), FindingLevel::Block,
         FindingGroup::Mapping,
         fmt::format("storage class '{}' for {} does not exist", choice.storage_class, source),
         fmt::format("create it or map to one that exists ({}): {}", known_classes(facts),
                     by_disk ? disk_snippet(vm, {&disk}, suggested_class(facts))
                             : storage_snippet(vm, {&disk}, suggested_class(facts)))});
  }
  check_default(vm, to_default, facts, findings);
  return findings;
}

}  // namespace vmferry::imports
