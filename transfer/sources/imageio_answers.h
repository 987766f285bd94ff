#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "common/extent.h"
#include "common/http_client.h"
#include "common/result.h"

namespace vmferry {

// What OPTIONS tells (source-ovirt.md 4.1). Old daemons (405), old proxies (204) and answers that
// are not JSON: no features, one reader.
struct ImageioOptions {
  bool extents = false;
  bool checksum = false;
  int max_readers = 1;
  friend bool operator==(const ImageioOptions&, const ImageioOptions&) = default;
};
ImageioOptions parse_imageio_options(const HttpResponse& response);

inline constexpr std::size_t kMaxImageioExtentsBytes = 256u << 20;

// The array of /extents?context=zero; `size_bytes` 0: not known. Neighbours of one kind are merged.
// Only "zero" counts: "hole" may be missing, and a hole that is not zero is read. InvalidArgument
// when it is not such an array, or does not cover the disk without gap and overlap: then it must
// not be used at all.
Result<std::vector<Extent>> parse_imageio_extents(std::string_view json, std::uint64_t size_bytes);

// Zeros of fewer than `gap` bytes between data are cheaper to read than to ask around.
std::vector<Extent> absorb_small_gaps(const std::vector<Extent>& extents, std::uint64_t gap);

}  // namespace vmferry
