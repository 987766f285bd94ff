#include "agent/volume.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <vector>

#include "agent/beneath.h"
#include "agent/mount_table.h"
#include "common/bytes.h"
#include "common/catalogue.h"

namespace vmferry {
namespace {

constexpr const char* kDiskImage = "disk.img";
constexpr uid_t kQemuUser = 107;  // virt-launcher's user and group
constexpr gid_t kQemuGroup = 107;
constexpr std::string_view kCsi = "kubernetes.io~csi";

Error not_mounted(const protocol::TargetVolume& target, std::string_view why) {
  return coded_error(ErrorKind::Unavailable, code::kTargetNotMounted, "volume '{}' of '{}': {}",
                     target.volume, target.name, why);
}

Error unsafe(const protocol::TargetVolume& target, std::string_view why) {
  return coded_error(ErrorKind::PermissionDenied, code::kTargetUnsafe, "target '{}' {}",
                     target.name, why);
}

// A name that is one component of a path.
bool is_component(std::string_view name) {
  return !name.empty() && name.size() <= 253 && name.front() != '.' &&
         name.find_first_of(std::string_view("/\0", 2)) == std::string_view::npos;
}

// `path` is one component below `root`; that component.
std::optional<std::string> below(const std::string& path, const std::string& root) {
  if (!path.starts_with(root + "/")) return std::nullopt;
  std::string rest = path.substr(root.size() + 1);
  if (!is_component(rest)) return std::nullopt;
  return rest;
}

Result<struct stat> stat_of(int fd, std::string_view what) {
  struct stat state {};
  if (::fstat(fd, &state) != 0) return errno_error(errno, fmt::format("{}: stat", what));
  return state;
}

// What a found mount is compared with.
struct Surroundings {
  std::vector<MountEntry> mounts;
  UniqueFd root;  // the kubelet's directory
  MountEntry root_mount;
  std::string root_path;
  dev_t root_device = 0;
};

// The mount that the open directory lies on.
Result<MountEntry> mount_around(const std::string& path, const std::vector<MountEntry>& mounts) {
  const MountEntry* best = nullptr;
  for (const MountEntry& entry : mounts) {
    const bool contains = entry.mount_point == "/" || path == entry.mount_point ||
                          path.starts_with(entry.mount_point + "/");
    // The later of two on one point lies on top.
    if (contains && (best == nullptr || entry.mount_point.size() >= best->mount_point.size())) {
      best = &entry;
    }
  }
  if (best == nullptr) return make_error(ErrorKind::Internal, "'{}' is on no mount", path);
  return *best;
}

Result<Surroundings> look_around(const std::string& root) {
  Surroundings around;
  around.mounts = TRY(read_mount_table());
  around.root = UniqueFd(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!around.root) {
    return coded_error(ErrorKind::Unavailable, code::kTargetNotMounted,
                       "the kubelet's directory '{}' cannot be opened here ({})", root,
                       errno_error(errno, "open").message());
  }
  around.root_path = TRY(path_of(around.root.get()));
  around.root_mount = TRY(mount_around(around.root_path, around.mounts));
  around.root_device = TRY(stat_of(around.root.get(), root)).st_dev;
  return around;
}

// A part of the kubelet's own directory, mounted onto itself: the node's disk, not a volume.
bool is_kubelets_own(const MountEntry& mount, const Surroundings& around) {
  if (mount.device_major != around.root_mount.device_major ||
      mount.device_minor != around.root_mount.device_minor) {
    return false;
  }
  const std::string& top = around.root_mount.root;
  const std::string& point = around.root_mount.mount_point;
  std::string inner = around.root_path.substr(point == "/" ? 0 : point.size());
  const std::string own = (top == "/" ? "" : top) + inner;
  return mount.root == "/" || mount.root == own || mount.root.starts_with(own + "/");
}

Result<void> check_space(const protocol::TargetVolume& target, int directory,
                         std::uint64_t size_bytes, bool overcommit) {
  struct statvfs space {};
  if (::fstatvfs(directory, &space) != 0) {
    return errno_error(errno, fmt::format("target '{}': statvfs", target.name));
  }
  if ((space.f_flag & ST_RDONLY) != 0) return unsafe(target, "is mounted read-only");
  if (overcommit) return {};
  const std::uint64_t unit = space.f_frsize;
  const std::uint64_t total = std::uint64_t{space.f_blocks} * unit;
  // Some network file systems do not tell.
  if (total == 0) return {};
  if (total < size_bytes) {
    return coded_error(ErrorKind::ResourceExhausted, code::kTargetTooSmall,
                       "the file system of '{}' has {}, the disk needs {}", target.name,
                       human_bytes(total), human_bytes(size_bytes));
  }
  // What an earlier attempt has written counts as room for it. Blocks reserved for root are ours.
  struct stat disk {};
  const bool is_there = ::fstatat(directory, kDiskImage, &disk, AT_SYMLINK_NOFOLLOW) == 0;
  const std::uint64_t held = is_there ? static_cast<std::uint64_t>(disk.st_blocks) * 512 : 0;
  const std::uint64_t free_blocks = ::geteuid() == 0 ? space.f_bfree : space.f_bavail;
  const std::uint64_t available = free_blocks * unit + held;
  if (available < size_bytes) {
    return coded_error(ErrorKind::ResourceExhausted, code::kTargetFull,
                       "the file system of '{}' has {} free, the disk needs {}", target.name,
                       human_bytes(available), human_bytes(size_bytes));
  }
  return {};
}

// The plugins of `directory` that have an entry `volume`.
Result<std::vector<std::string>> plugins_with(const Surroundings& around,
                                              const std::string& directory,
                                              const protocol::TargetVolume& target) {
  std::vector<std::string> found;
  const auto fd = TRY(open_beneath(around.root.get(), directory, O_RDONLY | O_DIRECTORY));
  if (!fd) return found;
  for (const std::string& plugin : TRY(directory_entries(fd->get(), directory))) {
    struct stat state {};
    const std::string entry = plugin + "/" + target.volume;
    if (::fstatat(fd->get(), entry.c_str(), &state, AT_SYMLINK_NOFOLLOW) == 0) {
      found.push_back(plugin);
    }
  }
  return found;
}

FoundVolume found(UniqueFd fd, const protocol::TargetVolume& target, bool block) {
  FoundVolume volume;
  volume.path = "/proc/self/fd/" + std::to_string(fd.get());
  volume.fd = std::move(fd);
  volume.name = target.name.empty() ? target.volume : target.name;
  volume.block = block;
  return volume;
}

Result<FoundVolume> find_filesystem(const protocol::TargetVolume& target, std::uint64_t size_bytes,
                                    const VolumeRules& rules) {
  const Surroundings around = TRY(look_around(rules.kubelet_root));
  const std::string base = "pods/" + target.pod_uid + "/volumes";
  const std::vector<std::string> plugins = TRY(plugins_with(around, base, target));
  if (plugins.empty()) {
    return not_mounted(
        target, fmt::format("there is no such volume in '{}/{}' yet", rules.kubelet_root, base));
  }
  std::optional<UniqueFd> chosen;
  std::optional<MountEntry> mount;
  for (const std::string& plugin : plugins) {
    for (const char* inner : {"/mount", ""}) {
      const std::string path = base + "/" + plugin + "/" + target.volume + inner;
      auto fd = TRY(open_beneath(around.root.get(), path, O_RDONLY | O_DIRECTORY));
      if (!fd) continue;
      auto here = TRY(mount_at(fd->get(), around.mounts));
      if (!here) continue;
      if (chosen) return unsafe(target, "is mounted twice in its pod");
      chosen = std::move(fd);
      mount = std::move(here);
    }
  }
  if (!chosen) {
    return not_mounted(target,
                       "its directory is there, but the kubelet's mount on it is not visible");
  }
  if (is_kubelets_own(*mount, around)) {
    return unsafe(target, "is a part of the node's own disk, not a volume");
  }
  TRY(check_space(target, chosen->get(), size_bytes, rules.overcommit));
  return found(*std::move(chosen), target, false);
}

std::string device_path(const std::string& plugin, const protocol::TargetVolume& target) {
  if (plugin == kCsi) {
    return "plugins/kubernetes.io/csi/volumeDevices/" + target.volume + "/dev/" + target.pod_uid;
  }
  return "plugins/" + plugin + "/volumeDevices/" + target.volume + "/" + target.pod_uid;
}

// Nothing that we can see may live on it. O_EXCL later refuses what others have mounted.
Result<void> check_device(const protocol::TargetVolume& target, dev_t device,
                          const std::vector<MountEntry>& mounts) {
  for (const MountEntry& entry : mounts) {
    if (entry.device_major == major(device) && entry.device_minor == minor(device)) {
      return unsafe(target, fmt::format("is the device {}:{}, which is mounted at '{}'",
                                        major(device), minor(device), entry.mount_point));
    }
  }
  return {};
}

Result<FoundVolume> find_device(const protocol::TargetVolume& target, const VolumeRules& rules) {
  const Surroundings around = TRY(look_around(rules.kubelet_root));
  const std::string base = "pods/" + target.pod_uid + "/volumeDevices";
  const std::vector<std::string> plugins = TRY(plugins_with(around, base, target));
  if (plugins.size() != 1) {
    return not_mounted(target, fmt::format("'{}/{}' has {} devices of that name",
                                           rules.kubelet_root, base, plugins.size()));
  }
  const std::string path = device_path(plugins.front(), target);
  auto fd = TRY(open_beneath(around.root.get(), path, O_PATH));
  if (!fd) return not_mounted(target, fmt::format("there is no '{}/{}'", rules.kubelet_root, path));
  const struct stat state = TRY(stat_of(fd->get(), path));
  // What the kubelet mounts the device onto is an empty file.
  if (!S_ISBLK(state.st_mode) || !TRY(mount_at(fd->get(), around.mounts))) {
    return not_mounted(target, "the kubelet's mount of its device is not visible");
  }
  TRY(check_device(target, state.st_rdev, around.mounts));
  return found(*std::move(fd), target, true);
}

// In a container of our own: the runtime has mounted the claim, or made its device node.
Result<FoundVolume> find_own(const protocol::TargetVolume& target, std::uint64_t size_bytes,
                             const VolumeRules& rules) {
  const std::vector<MountEntry> mounts = TRY(read_mount_table());
  const UniqueFd top(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!top) return errno_error(errno, "cannot open '/'");
  const std::string inner = target.path.substr(1);
  auto fd = TRY(open_beneath(top.get(), inner, target.block ? O_PATH : O_RDONLY | O_DIRECTORY));
  if (!fd) return not_mounted(target, fmt::format("'{}' is not there", target.path));
  const struct stat state = TRY(stat_of(fd->get(), target.path));
  if (target.block) {
    if (!S_ISBLK(state.st_mode)) return not_mounted(target, "its path is no block device");
    TRY(check_device(target, state.st_rdev, mounts));
    return found(*std::move(fd), target, true);
  }
  if (!TRY(mount_at(fd->get(), mounts)) || state.st_dev == TRY(stat_of(top.get(), "/")).st_dev) {
    return not_mounted(target, fmt::format("nothing is mounted at '{}'", target.path));
  }
  TRY(check_space(target, fd->get(), size_bytes, rules.overcommit));
  return found(*std::move(fd), target, false);
}

}  // namespace

Result<void> check_target(const protocol::TargetVolume& target, const VolumeRules& rules) {
  const auto refused = [&](std::string_view why) {
    return coded_error(ErrorKind::InvalidArgument, code::kTargetUnsafe, "target '{}' {}",
                       target.name, why);
  };
  switch (rules.mode) {
    case VolumeRules::Mode::AnyPath:
      if (target.path.empty() || target.path.front() != '/' || target.mover) {
        return refused("has no absolute path");
      }
      return {};
    case VolumeRules::Mode::Kubelet:
      if (target.mover || !target.path.empty() || !is_component(target.pod_uid) ||
          !is_component(target.volume)) {
        return refused("is no volume of a holder pod");
      }
      return {};
    case VolumeRules::Mode::Mover:
      if (!target.mover ||
          !below(target.path, target.block ? rules.mover_devices : rules.mover_root)) {
        return refused("is no volume of this pod");
      }
      return {};
  }
  return refused("is of no known form");
}

Result<FoundVolume> find_volume(const protocol::TargetVolume& target, std::uint64_t size_bytes,
                                const VolumeRules& rules) {
  TRY(check_target(target, rules));
  switch (rules.mode) {
    case VolumeRules::Mode::AnyPath:
      break;
    case VolumeRules::Mode::Kubelet:
      return target.block ? find_device(target, rules) : find_filesystem(target, size_bytes, rules);
    case VolumeRules::Mode::Mover:
      return find_own(target, size_bytes, rules);
  }
  FoundVolume volume;
  volume.path = target.path;
  volume.name = target.path;
  volume.block = target.block;
  return volume;
}

Result<std::string> hand_over(const FoundVolume& volume) {
  if (!volume.fd || volume.block) return std::string();
  const UniqueFd disk(
      ::openat(volume.fd.get(), kDiskImage, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  if (!disk) return errno_error(errno, fmt::format("cannot open the disk of '{}'", volume.name));
  struct stat state = TRY(stat_of(disk.get(), volume.name));
  // While it is ours: the mode of somebody else's file takes CAP_FOWNER.
  if ((state.st_mode & 07777) != 0660 && ::fchmod(disk.get(), 0660) != 0 && errno != EPERM) {
    return errno_error(errno, fmt::format("cannot set the mode of the disk of '{}'", volume.name));
  }
  const auto give_to = [&](uid_t user) -> Result<bool> {
    if (::fchown(disk.get(), user, kQemuGroup) == 0) return true;
    if (errno == EPERM || errno == EINVAL || errno == EOPNOTSUPP) return false;
    return errno_error(
        errno, fmt::format("cannot give the disk of '{}' to user {}", volume.name, kQemuUser));
  };
  constexpr uid_t kSameUser = static_cast<uid_t>(-1);
  const bool is_given = state.st_uid == kQemuUser && state.st_gid == kQemuGroup;
  if (!is_given && !TRY(give_to(kQemuUser))) TRY(give_to(kSameUser));
  if (::fsync(disk.get()) != 0) {
    return coded_error(ErrorKind::DataLoss, code::kTargetIo, "the disk of '{}': fsync: {}",
                       volume.name, errno_error(errno, "").message());
  }
  state = TRY(stat_of(disk.get(), volume.name));
  if (state.st_uid == kQemuUser || state.st_gid == kQemuGroup) return std::string();
  return fmt::format("{}:{}, mode {:04o}", state.st_uid, state.st_gid, state.st_mode & 07777);
}

}  // namespace vmferry
