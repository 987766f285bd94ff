#include "common/extent.h"

#include <limits>

namespace vmferry {

Result<ByteRange> ByteRange::make(std::uint64_t offset, std::uint64_t length) {
  if (length > std::numeric_limits<std::uint64_t>::max() - offset) {
    return make_error(ErrorKind::InvalidArgument, "range of {} bytes at {} overflows", length,
                      offset);
  }
  return ByteRange{offset, length};
}

std::vector<Extent> merge_adjacent(std::vector<Extent> extents) {
  std::vector<Extent> merged;
  for (const Extent& extent : extents) {
    if (extent.range.empty()) continue;
    if (!merged.empty() && merged.back().allocation == extent.allocation &&
        merged.back().range.end() == extent.range.offset) {
      merged.back().range.length += extent.range.length;
    } else {
      merged.push_back(extent);
    }
  }
  return merged;
}

std::uint64_t bytes_to_read(const std::vector<Extent>& extents) {
  std::uint64_t bytes = 0;
  for (const Extent& extent : extents) {
    if (extent.allocation != Allocation::Zero) bytes += extent.range.length;
  }
  return bytes;
}

}  // namespace vmferry
