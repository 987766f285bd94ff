#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/fd.h"
#include "common/result.h"

namespace vmferry {

// Opens `path` (relative) below the directory `root` without following any symbolic link and
// without ever leaving it (openat2(2), Linux 5.6). Nothing when it is not there. PermissionDenied
// with VMF-DST-UNSAFE when a link is in the way.
Result<std::optional<UniqueFd>> open_beneath(int root, const std::string& path, int flags);

// Names in the open directory, sorted, without "." and "..". `shown` is for texts.
Result<std::vector<std::string>> directory_entries(int directory, const std::string& shown);

}  // namespace vmferry
