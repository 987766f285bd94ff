#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "common/endpoint.h"
#include "common/log.h"
#include "common/result.h"
#include "transfer/disk_source.h"

namespace vmferry {

// Asks whoever made the endpoint for fresh credentials (ticket, cookie): the old one was refused.
// Blocking, bounded, cancellable. Called by sources; serialised by them.
using RenewEndpoint = std::function<Result<DiskEndpoint>(const Error& why, std::stop_token stop)>;

struct SourceEnvironment {
  std::string nbdkit_program = "nbdkit";
  std::string vddk_libdir;  // contains lib64/
  // Replaces "vddk key=value..." by this plugin command line, for tests and demos; "{file}" is the
  // datastore path "[ds] dir/disk.vmdk", "{ds}" and "{path}" its parts.
  std::vector<std::string> vddk_stand_in;
  std::string scratch_directory;  // sockets, password files (0600); must exist
  RenewEndpoint renew;            // may be empty
  // identity() must tell a changed disk, because the copy may be resumed: a source without a better
  // sign (ETag, time of change, what a provider knows) reads samples of its content when opened.
  // Without it such a source is checked as well when its server comes back in the middle.
  bool fingerprint = false;
  Logger log;
};

// Opens the source that `endpoint` describes and checks that its size is endpoint.size_bytes
// (when that is not 0): DataLoss with VMF-SRC-CHANGED else.
Result<std::unique_ptr<DiskSource>> open_source(const DiskEndpoint& endpoint,
                                                const SourceEnvironment& environment,
                                                std::stop_token stop);

}  // namespace vmferry
