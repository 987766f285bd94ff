#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace vmferry::vmware {

// One extent line: RW 4192256 VMFS "name-flat.vmdk" 0.
struct VmdkExtent {
  std::string access;
  std::uint64_t sectors = 0;  // of 512 bytes
  std::string type;           // FLAT, VMFS, ZERO, SPARSE, VMFSSPARSE, SESPARSE, ...
  std::string file;           // relative to the descriptor; empty for ZERO
  std::uint64_t offset = 0;   // sectors into the file
  friend bool operator==(const VmdkExtent&, const VmdkExtent&) = default;
};

// The text descriptor of a VMDK (source-vmware.md 6.4), as far as finding the bytes needs it.
struct VmdkDescriptor {
  std::string cid;         // lower case hex
  std::string parent_cid;  // "ffffffff": no parent
  std::string create_type;
  std::vector<VmdkExtent> extents;

  bool has_parent() const { return !parent_cid.empty() && parent_cid != "ffffffff"; }
  friend bool operator==(const VmdkDescriptor&, const VmdkDescriptor&) = default;
};

// LF or CRLF lines, NUL padding at the end. InvalidArgument for text that is no descriptor, an
// extent line that cannot be read, no extent at all, or more than 64 KiB.
Result<VmdkDescriptor> parse_vmdk_descriptor(std::string_view text);

}  // namespace vmferry::vmware
