#pragma once

#include <string>

#include "cli/measured_rate.h"
#include "coordinator/imports/dry_run.h"

namespace vmferry::cli {

// What `vmferry validate` prints about one import, pure: verdict, source, findings by level,
// choices, mappings, claims, estimate; the VM as YAML with `show_vm`.
std::string dry_run_text(const imports::DryRun& run, const AssumedRate& rate, bool show_vm);

}  // namespace vmferry::cli
