#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/transfer/support/source_peers.h"

namespace vmferry::testing {

// Writes a streamOptimized VMDK of `disk`; each piece can be written wrong.
struct VmdkStreamRecipe {
  std::uint32_t grain_sectors = 128;
  std::uint64_t overhead_sectors = 128;
  std::uint64_t gd_offset = ~0ull;
  bool tables = false;  // grain tables, directory and footer between and after the grains
  bool end_marker = true;
  bool pad_last_grain = false;  // the last grain is inflated to its full size
  bool break_deflate = false;
  bool shorten_inner_grain = false;
};
Bytes make_vmdk_stream(const Bytes& disk, const VmdkStreamRecipe& recipe = {});

}  // namespace vmferry::testing
