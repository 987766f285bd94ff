#pragma once

#include <cstddef>
#include <span>

namespace vmferry {

// True when every byte is zero. Leaves at the first byte that is not: nearly free for real data.
bool is_zero(std::span<const std::byte> bytes);

}  // namespace vmferry
