#pragma once

#include <string>
#include <vector>

#include "cli/import_view.h"
#include "common/clock.h"

namespace vmferry::cli {

// What `vmferry describe import` prints, pure: source and target, conditions with remedies,
// findings, disks, events. `events`: those about this import, in any order.
std::string describe_text(const api::VirtualMachineImport& import, const ImportView& view,
                          const std::vector<kube::Object>& events, WallTime now);

}  // namespace vmferry::cli
