#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace vmferry {

// One run of a VMDK's guest data, as its descriptor's line says it: RW 4192256 VMFS "a-flat.vmdk" 0
// (source-vmware.md 6.4). Extents follow each other.
struct VmdkExtent {
  std::string access;             // RW, RDONLY or NOACCESS
  std::string type;               // in upper case: FLAT, VMFS, ZERO, SPARSE, VMFSSPARSE, ...
  std::uint64_t length = 0;       // bytes
  std::string file;               // beside the descriptor; empty for ZERO
  std::uint64_t file_offset = 0;  // bytes

  bool is_raw() const { return type == "FLAT" || type == "VMFS"; }  // bytes of a file as they are
  bool is_zero() const { return type == "ZERO"; }
  friend bool operator==(const VmdkExtent&, const VmdkExtent&) = default;
};

// The text descriptor of a VMDK, as far as finding the bytes needs it.
struct VmdkDescriptor {
  std::string create_type;
  std::string cid;          // lower-case hex
  std::string parent_cid;   // "ffffffff": no parent
  std::string parent_file;  // parentFileNameHint
  bool encrypted = false;
  std::vector<VmdkExtent> extents;

  // The disk holds only what changed since a snapshot.
  bool has_parent() const {
    return (!parent_cid.empty() && parent_cid != "ffffffff") || !parent_file.empty();
  }
  std::uint64_t size_bytes() const;
};

inline constexpr std::size_t kMaxVmdkDescriptorBytes = 1u << 20;

// LF or CRLF lines, possibly padded with NUL. InvalidArgument with VMF-SRC-PROTOCOL when it is no
// descriptor, contradicts itself, or names a file that does not lie beside it.
Result<VmdkDescriptor> parse_vmdk_descriptor(std::string_view text);

// Whether the guest's bytes can be read from the extents' files: Unimplemented with
// VMF-SRC-DISK-UNSUPPORTED for snapshot children, sparse, raw-device and encrypted disks.
Result<void> check_vmdk_is_flat(const VmdkDescriptor& descriptor);

}  // namespace vmferry
