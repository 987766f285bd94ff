#include "coordinator/imports/mapping_fix.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "coordinator/imports/validation_parts.h"

namespace vmferry::imports {

namespace {

constexpr const char* kAnyAttachment = "NETWORK-ATTACHMENT";

// NICs of one network are one to a mapping, and so are disks of one storage.
using NetworkKey = std::pair<std::vector<std::string>, std::vector<std::string>>;
NetworkKey key_of(const SourceNic& nic) { return {nic.network_ids, nic.network_names}; }

bool contains(const std::vector<std::string>& values, const std::string& wanted) {
  return std::ranges::find(values, wanted) != values.end();
}

// A selector, and whether it selects nothing else.
struct Choice {
  api::Selector source;
  bool unique = true;
};

Choice network_selector(const SourceVm& vm, const SourceNic& nic) {
  const std::vector<const SourceNic*> all = imported_nics(vm);
  const auto is_alone = [&](const std::string& text, auto list) {
    return std::ranges::none_of(all, [&](const SourceNic* other) {
      return key_of(*other) != key_of(nic) && contains(other->*list, text);
    });
  };
  const auto usable_name = [&](const std::string& name) {
    return !name.empty() && (vm.provider != ProviderKind::Ovirt || is_profile_path(name));
  };
  Choice fallback{.source = {}, .unique = false};
  for (const std::string& name : nic.network_names) {
    if (!usable_name(name)) continue;
    if (is_alone(name, &SourceNic::network_names)) return {{.id = {}, .name = name}};
    fallback.source = {.id = {}, .name = name};
  }
  for (const std::string& id : nic.network_ids) {
    if (id.empty()) continue;
    if (is_alone(id, &SourceNic::network_ids)) return {{.id = id, .name = {}}};
    fallback.source = {.id = id, .name = {}};
  }
  return fallback;
}

api::NetworkMappingItem attached(api::Selector source) {
  api::NetworkMappingItem item;
  item.source = std::move(source);
  item.target.name = kAnyAttachment;
  item.type = "multus";
  return item;
}

template <typename Item>
void add_once(std::vector<Item>& items, Item item) {
  if (std::ranges::find(items, item.source, &Item::source) == items.end()) {
    items.push_back(std::move(item));
  }
}

// Whether two items with these sources in one list would be one too many (ADM-7).
bool repeats(const api::Selector& a, const api::Selector& b) {
  if (a.id && b.id) return *a.id == *b.id;
  return a.name && b.name && *a.name == *b.name;
}

// The source of an item that is to take the place of `served`: its own; where another item, which
// may stand in the import while `served` is its ResourceMapping's, has the same name, the id.
template <typename Item>
api::Selector replacing(const Item& served, const std::optional<std::vector<Item>>& items,
                        const std::string& id) {
  const bool ambiguous = std::ranges::any_of(*items, [&](const Item& other) {
    return &other != &served && repeats(other.source, served.source);
  });
  return ambiguous && !id.empty() ? api::Selector{.id = id, .name = {}} : served.source;
}

// By name, which people know, unless others have it too.
api::Selector storage_selector(const SourceVm& vm, const SourceDisk& disk) {
  const bool shared = std::ranges::any_of(vm.disks, [&](const SourceDisk& other) {
    return other.storage_name == disk.storage_name && other.storage_id != disk.storage_id;
  });
  if (!disk.storage_name.empty() && (!shared || disk.storage_id.empty())) {
    return {.id = {}, .name = disk.storage_name};
  }
  return {.id = disk.storage_id, .name = {}};
}

api::Selector disk_selector(const SourceVm& vm, const SourceDisk& disk) {
  const auto same = std::ranges::count(vm.disks, disk.name, &SourceDisk::name);
  if (!disk.name.empty() && (same == 1 || disk.id.empty())) return {.id = {}, .name = disk.name};
  return {.id = disk.id, .name = {}};
}

std::string source_text(const api::Selector& source) {
  std::string text;
  if (source.id) text += "id: " + yaml_quoted(*source.id);
  if (source.name) text += (text.empty() ? "name: " : ", name: ") + yaml_quoted(*source.name);
  return "\n- source: {" + text + "}";
}

std::string list_text(const char* list, const std::vector<api::NetworkMappingItem>& items) {
  std::string text;
  for (const api::NetworkMappingItem& item : items) {
    const bool pod = item.type == "pod";
    text += source_text(item.source) +
            fmt::format("\n  target: {{name: {}}}\n  type: {}",
                        pod ? std::string("pod") : yaml_quoted(item.target.name),
                        pod ? "pod" : "multus");
  }
  return text.empty() ? text : fmt::format("\n{}:{}", list, text);
}

std::string list_text(const char* list, const std::vector<api::StorageMappingItem>& items) {
  std::string text;
  for (const api::StorageMappingItem& item : items) {
    text += source_text(item.source) +
            fmt::format("\n  target: {{name: {}}}", yaml_quoted(item.target.name));
    if (item.volume_mode) text += "\n  volumeMode: " + yaml_quoted(*item.volume_mode);
    if (item.access_mode) text += "\n  accessMode: " + yaml_quoted(*item.access_mode);
  }
  return text.empty() ? text : fmt::format("\n{}:{}", list, text);
}

}  // namespace

MappingFix fix_unmapped(const SourceVm& vm, const api::Mappings& mappings,
                        const std::vector<const SourceNic*>& nics, const std::string& import_ns) {
  const std::vector<const SourceNic*> all = imported_nics(vm);
  bool pod_taken = std::ranges::any_of(all, [&](const SourceNic* nic) {
    const auto choice = resolve_network(mappings, *nic, import_ns);
    return choice && (choice->type.empty() || choice->type == "pod");
  });
  MappingFix fix;
  std::set<NetworkKey> done;
  for (const SourceNic* nic : nics) {
    if (!done.insert(key_of(*nic)).second) continue;
    const auto sharing = std::ranges::count_if(
        all, [&](const SourceNic* other) { return key_of(*other) == key_of(*nic); });
    const Choice choice = network_selector(vm, *nic);
    api::NetworkMappingItem item = attached(choice.source);
    if (!pod_taken && !nic->sriov && choice.unique && sharing == 1) {
      item.target.name = "pod";
      item.type = "pod";
      pod_taken = true;
    }
    add_once(fix.networks, std::move(item));
  }
  return fix;
}

MappingFix fix_pod(const api::Mappings& mappings, const std::vector<const SourceNic*>& nics) {
  std::vector<const api::NetworkMappingItem*> items;  // one a NIC
  for (const SourceNic* nic : nics) items.push_back(network_item(mappings, *nic));
  MappingFix fix{.networks = {}, .storage = {}, .disks = {}, .replaces = true};
  bool kept = false;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const api::NetworkMappingItem* item = items[i];
    if (item == nullptr) continue;
    if (!kept && std::ranges::count(items, item) == 1) {
      kept = true;
      continue;
    }
    const std::vector<std::string>& ids = nics[i]->network_ids;
    add_once(fix.networks, attached(replacing(*item, mappings.networks,
                                              ids.empty() ? std::string() : ids.front())));
  }
  return fix;
}

MappingFix fix_storage(const SourceVm& vm, const api::Mappings& mappings,
                       const std::vector<const SourceDisk*>& disks,
                       const std::string& storage_class) {
  MappingFix fix;
  for (const SourceDisk* disk : disks) {
    api::StorageMappingItem item;
    const MappedBy by = resolve_storage(mappings, vm, *disk).by;
    bool for_disk = by == MappedBy::Disk;
    if (by != MappedBy::Nothing) {
      const api::StorageMappingItem& served = *storage_item(mappings, *disk);
      item = served;
      item.source = for_disk ? replacing(served, mappings.disks, disk->id)
                             : replacing(served, mappings.storage, disk->storage_id);
      item.type.reset();
      fix.replaces = true;
    } else if (disk->storage_name.empty() && disk->storage_id.empty()) {
      item.source = disk_selector(vm, *disk);
      for_disk = true;
    } else {
      item.source = storage_selector(vm, *disk);
    }
    item.target = {.name = storage_class, .ns = {}};
    add_once(for_disk ? fix.disks : fix.storage, std::move(item));
  }
  return fix;
}

std::string to_yaml(ProviderKind provider, const MappingFix& fix) {
  const std::string_view what =
      fix.replaces ? "put into spec.source.{}.mappings, in place of items with the same source:"
                   : "add to spec.source.{}.mappings:";
  return fmt::format(fmt::runtime(what), to_string(provider)) +
         list_text("networkMappings", fix.networks) + list_text("storageMappings", fix.storage) +
         list_text("diskMappings", fix.disks);
}

}  // namespace vmferry::imports
