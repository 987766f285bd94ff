#include <cstddef>
#include <cstdint>

#include "transfer/sources/imageio_answers.h"

// An accepted map covers the disk without gap or overlap.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto parsed =
      vmferry::parse_imageio_extents({reinterpret_cast<const char*>(data), size}, 0);
  if (!parsed) return 0;
  std::uint64_t at = 0;
  for (const vmferry::Extent& extent : vmferry::absorb_small_gaps(*parsed, 1u << 17)) {
    if (extent.range.offset != at || extent.range.length == 0) __builtin_trap();
    at = extent.range.end();
  }
  if (at != parsed->back().range.end()) __builtin_trap();
  return 0;
}
