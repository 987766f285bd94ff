#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace vmferry {

// One run of a VMDK's guest data (source-vmware.md 6.4); extents follow each other.
struct VmdkExtent {
  enum class Kind { Raw, Zero };  // FLAT and VMFS; ZERO
  Kind kind = Kind::Raw;
  std::uint64_t length = 0;       // bytes
  std::string file;               // Raw: a name in the descriptor's directory
  std::uint64_t file_offset = 0;  // Raw: bytes
  friend bool operator==(const VmdkExtent&, const VmdkExtent&) = default;
};

struct VmdkDescriptor {
  std::string create_type;
  std::string cid;
  std::string parent_cid;
  std::string parent_file;  // parentFileNameHint
  std::vector<VmdkExtent> extents;
  std::uint64_t size_bytes() const;
};

inline constexpr std::size_t kMaxVmdkDescriptorBytes = 1u << 20;

// Text with LF or CRLF, possibly padded with NUL. InvalidArgument when it is no descriptor or
// contradicts itself; Unimplemented with VMF-SRC-DISK-UNSUPPORTED for what cannot be read as plain
// files: snapshot children, sparse, raw-device and encrypted disks. A file name that leaves the
// directory is InvalidArgument.
Result<VmdkDescriptor> parse_vmdk_descriptor(std::string_view text);

}  // namespace vmferry
