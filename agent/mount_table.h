#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace vmferry {

// One line of /proc/self/mountinfo (proc(5)).
struct MountEntry {
  std::uint64_t id = 0;
  std::uint32_t device_major = 0, device_minor = 0;
  std::string root;         // the directory of its file system that is mounted
  std::string mount_point;  // as this process sees it
  std::string type;
  friend bool operator==(const MountEntry&, const MountEntry&) = default;
};

// Pure. Lines that are no mountinfo are left out: a mount that cannot be read proves nothing.
std::vector<MountEntry> parse_mountinfo(std::string_view text);

Result<std::vector<MountEntry>> read_mount_table();

// The mount whose root is the open file `fd` itself: not one that it merely lies on. Nothing when
// it is an ordinary directory or file of the mount around it.
Result<std::optional<MountEntry>> mount_at(int fd, const std::vector<MountEntry>& table);

// The path by which this process reaches `fd` now.
Result<std::string> path_of(int fd);

}  // namespace vmferry
