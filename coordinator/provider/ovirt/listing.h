#pragma once

#include <stop_token>

#include "common/result.h"
#include "coordinator/provider/listing.h"
#include "coordinator/provider/ovirt/client.h"

namespace vmferry::ovirt {

// What Provider::list() answers for an engine. Collections that can be searched are read in pages
// (source-ovirt.md 1.5); vNIC profiles, which cannot, come whole. The names are those of mappings:
// a vNIC profile's is "network/profile", a disk's its alias.
Result<Listing> list_objects(Client& client, ListingKind kind, std::stop_token stop);

}  // namespace vmferry::ovirt
