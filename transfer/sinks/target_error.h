#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/result.h"

namespace vmferry {

// An Error for a failed call on a target: ENOSPC, EDQUOT and EFBIG are ResourceExhausted with
// VMF-DST-FULL and name what is still needed and what is free; everything the device says about
// data (EIO, ENODEV, ...) is DataLoss with VMF-DST-IO. `fd` is the target, to ask its file system.
Error target_error(int error_number, int fd, std::string_view target, std::string_view what,
                   std::uint64_t size_bytes);

// The refusal of a target that has no room: needed and available bytes in words.
Error target_full(std::string_view target, std::uint64_t needed, std::uint64_t available);

}  // namespace vmferry
