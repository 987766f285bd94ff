#pragma once

#include <optional>
#include <string>

#include "coordinator/api/import.h"
#include "coordinator/provider/source_vm.h"

// Which target a source disk or NIC gets (mapping-ovirt.md 5, 6.3, 6.4, 7), all pure.
namespace vmferry::imports {

// In-CR items first, then external ones that they do not replace, each in original order;
// diskMappings of the external mapping are ignored. Cases OV-90 to OV-118.
api::Mappings merge_mappings(const std::optional<api::Mappings>& in_cr,
                             const std::optional<api::Mappings>& external);

enum class MappedBy { Disk, Storage, Nothing };

struct StorageChoice {
  MappedBy by = MappedBy::Nothing;
  std::string storage_class;  // empty: the cluster's default class
  std::string volume_mode;    // always "Filesystem" or "Block"
  std::string access_mode;
  friend bool operator==(const StorageChoice&, const StorageChoice&) = default;
};
// The item that decides on the disk: of diskMappings, else of storageMappings; null: none does.
const api::StorageMappingItem* storage_item(const api::Mappings& mappings, const SourceDisk& disk);
StorageChoice resolve_storage(const api::Mappings& mappings, const SourceVm& vm,
                              const SourceDisk& disk);

struct NetworkChoice {
  bool multus = false;         // else the pod network
  std::string network_name;    // multus: "namespace/name" or "name" in the import's namespace
  kube::ObjectKey attachment;  // multus
  std::string type;            // as written; empty: absent
  std::optional<std::string> target_ns;
  friend bool operator==(const NetworkChoice&, const NetworkChoice&) = default;
};
// The first matching item: in-CR before external, id before name; null: none.
const api::NetworkMappingItem* network_item(const api::Mappings& mappings, const SourceNic& nic);
// Its target.
std::optional<NetworkChoice> resolve_network(const api::Mappings& mappings, const SourceNic& nic,
                                             const std::string& import_ns);

}  // namespace vmferry::imports
