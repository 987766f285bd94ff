#pragma once

#include <string>

#include "common/fd.h"
#include "common/result.h"

namespace vmferry {

// Takes `path` with flock for as long as the answer lives, and writes the process id into it.
// Unavailable, naming the holder, when another process has it.
Result<UniqueFd> lock_process_file(const std::string& path);

}  // namespace vmferry
