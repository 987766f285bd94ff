#pragma once

#include "coordinator/provider/listing.h"
#include "coordinator/provider/vmware/client.h"

namespace vmferry::vmware {

// What a vCenter or an ESXi host has, over all data centres, nested folders, resource pools and
// vApps (source-vmware.md 2). Ids are managed object ids but for disks, whose id is what
// diskMappings match. InvalidArgument for vnicprofiles and clusters, which are oVirt's;
// ResourceExhausted beyond `most_rows`.
Result<Listing> list_inventory(Exchange& exchange, ListingKind kind,
                               std::size_t most_rows = 100'000);

}  // namespace vmferry::vmware
