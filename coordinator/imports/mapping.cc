#include "coordinator/imports/mapping.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>

namespace vmferry::imports {

namespace {

bool given(const std::optional<std::string>& text) { return text && !text->empty(); }
bool has_selector(const api::Selector& selector) {
  return given(selector.id) || given(selector.name);
}

// mapping-ovirt.md 7, steps 2 to 5. "The same resource" is textual: an equal id, or an equal name
// where the external item has no id of its own left.
template <typename Item>
std::vector<Item> merge_items(const std::vector<Item>& primary, const std::vector<Item>& external) {
  std::map<std::string, std::size_t> by_id, by_name;  // the last external item of that id or name
  for (std::size_t i = 0; i < external.size(); ++i) {
    const api::Selector& source = external[i].source;
    if (given(source.id)) by_id[*source.id] = i;
    if (given(source.name)) by_name[*source.name] = i;
  }

  std::vector<Item> merged;
  std::set<std::string> used_ids;
  for (const Item& item : primary) {
    if (!has_selector(item.source)) continue;
    merged.push_back(item);
    if (given(item.source.id)) {
      by_id.erase(*item.source.id);
      used_ids.insert(*item.source.id);
    }
    if (given(item.source.name)) by_name.erase(*item.source.name);
  }

  std::set<std::size_t> kept;  // indexes, so that the original order comes by itself
  for (const auto& [id, index] : by_id) {
    kept.insert(index);
    used_ids.insert(id);
    if (given(external[index].source.name)) by_name.erase(*external[index].source.name);
  }
  for (const auto& [name, index] : by_name) {
    const api::Selector& source = external[index].source;
    if (!given(source.id) || !used_ids.contains(*source.id)) kept.insert(index);
  }
  for (const std::size_t index : kept) merged.push_back(external[index]);
  return merged;
}

template <typename Item>
std::optional<std::vector<Item>> merge_lists(const std::optional<std::vector<Item>>& primary,
                                             const std::optional<std::vector<Item>>& external) {
  if (!primary) return external;
  if (!external) return primary;
  return merge_items(*primary, *external);
}

bool contains(const std::vector<std::string>& values, const std::optional<std::string>& wanted) {
  return given(wanted) && std::ranges::find(values, *wanted) != values.end();
}

// The item for a source known under `ids` and `names`. An item that names another id but the same
// name (two port groups of one name) yields to one that fits without contradiction; apart from that
// the first in the list wins, and in-CR items stand first.
template <typename Item>
const Item* match(const std::optional<std::vector<Item>>& items,
                  const std::vector<std::string>& ids, const std::vector<std::string>& names) {
  if (!items) return nullptr;
  const Item* by_name_alone = nullptr;
  for (const Item& item : *items) {
    if (contains(ids, item.source.id)) return &item;
    if (!contains(names, item.source.name)) continue;
    if (!given(item.source.id)) return &item;
    if (by_name_alone == nullptr) by_name_alone = &item;
  }
  return by_name_alone;
}

std::string default_access_mode(const SourceVm& vm, const SourceDisk& disk) {
  if (vm.live_migratable) return "ReadWriteMany";
  return disk.read_only ? "ReadOnlyMany" : "ReadWriteOnce";
}

}  // namespace

api::Mappings merge_mappings(const std::optional<api::Mappings>& in_cr,
                             const std::optional<api::Mappings>& external) {
  const api::Mappings primary = in_cr.value_or(api::Mappings{});
  const api::Mappings secondary = external.value_or(api::Mappings{});
  return {.networks = merge_lists(primary.networks, secondary.networks),
          .storage = merge_lists(primary.storage, secondary.storage),
          .disks = primary.disks};
}

const api::StorageMappingItem* storage_item(const api::Mappings& mappings, const SourceDisk& disk) {
  const api::StorageMappingItem* item = match(mappings.disks, {disk.id}, {disk.name});
  return item != nullptr ? item : match(mappings.storage, {disk.storage_id}, {disk.storage_name});
}

StorageChoice resolve_storage(const api::Mappings& mappings, const SourceVm& vm,
                              const SourceDisk& disk) {
  StorageChoice choice;
  const api::StorageMappingItem* item = storage_item(mappings, disk);
  if (match(mappings.disks, {disk.id}, {disk.name}) != nullptr) {
    choice.by = MappedBy::Disk;
  } else if (item != nullptr) {
    choice.by = MappedBy::Storage;
  }
  if (item != nullptr) choice.storage_class = item->target.name;
  choice.volume_mode =
      item != nullptr && given(item->volume_mode) ? *item->volume_mode : "Filesystem";
  choice.access_mode = item != nullptr && given(item->access_mode) ? *item->access_mode
                                                                   : default_access_mode(vm, disk);
  return choice;
}

const api::NetworkMappingItem* network_item(const api::Mappings& mappings, const SourceNic& nic) {
  return match(mappings.networks, nic.network_ids, nic.network_names);
}

std::optional<NetworkChoice> resolve_network(const api::Mappings& mappings, const SourceNic& nic,
                                             const std::string& import_ns) {
  const api::NetworkMappingItem* item = network_item(mappings, nic);
  if (item == nullptr) return std::nullopt;
  NetworkChoice choice;
  choice.type = item->type.value_or("");
  choice.target_ns = item->target.ns;
  choice.multus = choice.type == "multus";
  if (!choice.multus) return choice;
  const bool own_namespace = given(item->target.ns);
  choice.attachment = {own_namespace ? *item->target.ns : import_ns, item->target.name};
  // The device plugin of SR-IOV looks the attachment up by its full name.
  choice.network_name =
      own_namespace || nic.sriov ? choice.attachment.to_string() : item->target.name;
  return choice;
}

}  // namespace vmferry::imports
