#pragma once

#include "coordinator/imports/pass.h"

namespace vmferry::imports {

// Reads what the decisions need to know of the cluster: classes, templates, attachments, overheads,
// configuration. Optional APIs that are absent count as empty.
Result<void> observe_cluster(Pass& pass);

// The import's own mappings merged with its ResourceMapping's. NotFound with
// VMF-REQ-MAPPING-MISSING.
Result<void> observe_mappings(Pass& pass);

}  // namespace vmferry::imports
