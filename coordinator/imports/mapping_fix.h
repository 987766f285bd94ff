#pragma once

#include <string>
#include <vector>

#include "coordinator/imports/mapping.h"

// The mappings that a finding proposes: items that the import's own rules take, whatever networks,
// storages and disks share a name, and that serve the NICs and disks they are for. Pure.
namespace vmferry::imports {

// Items for spec.source.<provider>.mappings. One with the source of an item that the import has is
// to take its place.
struct MappingFix {
  std::vector<api::NetworkMappingItem> networks;
  std::vector<api::StorageMappingItem> storage, disks;
  bool replaces = false;  // some item takes the place of another
};

// For NICs that no item serves: the pod network for one whose network no other NIC shares, unless
// it is taken; NetworkAttachmentDefinitions for the rest.
MappingFix fix_unmapped(const SourceVm& vm, const api::Mappings& mappings,
                        const std::vector<const SourceNic*>& nics, const std::string& import_ns);
// For NICs that are all on the pod network: one of them stays, where a mapping can tell it apart.
MappingFix fix_pod(const api::Mappings& mappings, const std::vector<const SourceNic*>& nics);
// The class for these disks: in the item that serves each, or in one for its storage, or for it.
MappingFix fix_storage(const SourceVm& vm, const api::Mappings& mappings,
                       const std::vector<const SourceDisk*>& disks,
                       const std::string& storage_class);

// What to do with it, and it, as YAML to be pasted.
std::string to_yaml(ProviderKind provider, const MappingFix& fix);

}  // namespace vmferry::imports
