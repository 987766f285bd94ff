#pragma once

#include <map>
#include <string>
#include <vector>

#include "cli/import_view.h"

namespace vmferry::cli {

// Why an import is where it is: name, phase, reasons, and a "  remedy: ..." line where the
// catalogue knows one. Lines end in a newline.
std::string outcome_text(const ImportView& import);

// What `vmferry import` says at the end. `manifests`: of those that succeeded, by key.
//
//   web01    succeeded  VM web01, 2 disks, 1.2 GiB, manifest /.../web01.yaml
//              disk-0  xxh3-128:1f...  verified
//   ...
//   2 of 2 imports succeeded, 3 of 3 disks verified, 1.8 GiB in 12 s (153.6 MiB/s)
std::string summary_text(const std::vector<ImportView>& imports,
                         const std::map<kube::ObjectKey, std::string>& manifests, double seconds);

}  // namespace vmferry::cli
