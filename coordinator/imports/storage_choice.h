#pragma once

#include <string>
#include <vector>

#include "coordinator/imports/cluster_facts.h"
#include "coordinator/imports/mapping.h"

// Which modes a claim gets where CDI knows what its storage class can do, pure.
namespace vmferry::imports {

// One property set of a StorageProfile.
struct ClaimModes {
  std::string volume_mode;
  std::vector<std::string> access_modes;
  friend bool operator==(const ClaimModes&, const ClaimModes&) = default;
};
// What the class offers, in its profile's order; empty: nobody says. An empty class is the
// cluster's default one.
std::vector<ClaimModes> offered_modes(const ClusterFacts& facts, const std::string& storage_class);
bool offers(const std::vector<ClaimModes>& offered, const std::string& volume_mode,
            const std::string& access_mode);

// The smallest claim that the class makes (CDI's cdi.kubevirt.io/minimumSupportedPvcSize); 0:
// nobody says.
std::uint64_t minimum_claim_bytes(const ClusterFacts& facts, const std::string& storage_class);

// resolve_storage(), except that modes which no mapping gives follow the profile where it does not
// have the usual ones: a claim that asks for what its class lacks stays unbound for ever.
StorageChoice choose_storage(const api::Mappings& mappings, const SourceVm& vm,
                             const SourceDisk& disk, const ClusterFacts& facts);

}  // namespace vmferry::imports
