#pragma once

#include <stop_token>

#include "common/result.h"
#include "transfer/open_source.h"

namespace vmferry {

// Whether disks of kind NbdkitVddk can be read here: nbdkit is there, it has the plugin, and the
// plugin can load VDDK's libraries. Takes up to 15 s. Errors as explain_nbdkit_failure tells them:
// Unimplemented with VMF-SRC-NBDKIT-MISSING, InvalidArgument with VMF-SRC-VDDK-MISSING.
Result<void> check_vddk(const SourceEnvironment& environment, std::stop_token stop);

}  // namespace vmferry
