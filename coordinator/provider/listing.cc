#include "coordinator/provider/listing.h"

namespace vmferry {

std::string_view to_string(ListingKind kind) {
  switch (kind) {
    case ListingKind::Vms:
      return "vms";
    case ListingKind::Disks:
      return "disks";
    case ListingKind::Networks:
      return "networks";
    case ListingKind::Datastores:
      return "datastores";
    case ListingKind::VnicProfiles:
      return "vnicprofiles";
    case ListingKind::Clusters:
      return "clusters";
  }
  return "unknown";
}

}  // namespace vmferry
