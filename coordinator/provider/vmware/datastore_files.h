#pragma once

#include <map>
#include <string>

#include "common/guarded.h"
#include "coordinator/provider/vmware/client.h"
#include "coordinator/provider/vmware/disk_access.h"

namespace vmferry::vmware {

// Reads descriptors and sizes of files on datastores, over HTTPS at the endpoint of the account
// (source-vmware.md 6). Thread-safe.
class DatastoreFiles {
 public:
  explicit DatastoreFiles(std::string origin) : origin_(std::move(origin)) {}

  // Follows the disk's descriptor to its flat file and checks the sizes. Errors: NotFound with
  // VMF-SRC-DISK-MISSING, PermissionDenied with VMF-SRC-PRIVILEGE, Unavailable with
  // VMF-SRC-DISK-LOCKED for a file that the server has but does not give, those of flat_layout()
  // and of the transport.
  Result<FlatFile> locate(Exchange& exchange, const Device& disk, const std::string& datacenter);

 private:
  struct Answer {
    std::string url;
    HttpResponse response;
  };
  Result<Answer> ask(Exchange& exchange, const std::string& method, const std::string& file,
                     const std::string& datacenter);

  const std::string origin_;
  // Whether the names of a datastore must be encoded twice, once that is known; by the names of
  // data centre and datastore.
  Guarded<std::map<std::string, bool, std::less<>>> twice_;
};

}  // namespace vmferry::vmware
