#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "cli/import_view.h"
#include "common/result.h"
#include "coordinator/embedded/home.h"
#include "coordinator/kube/reader.h"

namespace vmferry::cli {

// The imports of a namespace (empty: all; of those only `names`, if any are given), sorted by key,
// with live telemetry when a coordinator runs. An import whose fields have wrong types is shown as
// Blocked with the reason.
Result<std::vector<ImportView>> load_views(kube::Reader& reader, const embedded::Home& home,
                                           const std::string& ns,
                                           const std::vector<std::string>& names,
                                           std::stop_token stop);
// The same for exactly these objects, wherever they are. One that does not exist is Gone.
Result<std::vector<ImportView>> load_views(kube::Reader& reader, const embedded::Home& home,
                                           const std::vector<kube::ObjectKey>& keys,
                                           std::stop_token stop);

}  // namespace vmferry::cli
