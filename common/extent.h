#pragma once

#include <cstdint>
#include <vector>

#include "common/result.h"

namespace vmferry {

// Bytes [offset, offset + length) of a disk. make() is where overflow is checked, once.
struct ByteRange {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;

  static Result<ByteRange> make(std::uint64_t offset, std::uint64_t length);
  std::uint64_t end() const { return offset + length; }
  bool empty() const { return length == 0; }
  friend bool operator==(const ByteRange&, const ByteRange&) = default;
};

// Data: must be read. Zero: known to read as zeros. Hole: unallocated, content unknown unless the
// source says zero, so a hole is read like data.
enum class Allocation : std::uint8_t { Data, Zero, Hole };

struct Extent {
  ByteRange range;
  Allocation allocation = Allocation::Data;
  friend bool operator==(const Extent&, const Extent&) = default;
};

// Joins neighbours of one allocation and drops empty ones. Input sorted, no overlaps.
std::vector<Extent> merge_adjacent(std::vector<Extent> extents);

// Bytes that must be read: Data and Hole.
std::uint64_t bytes_to_read(const std::vector<Extent>& extents);

}  // namespace vmferry
