#include "coordinator/volumes/claim_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <span>
#include <vector>

#include "common/catalogue.h"
#include "common/fd.h"
#include "common/handle.h"

namespace vmferry::volumes {
namespace {

constexpr const char* kMarker = ".vmferry-claim";
constexpr std::size_t kMaxMarkerBytes = 256;
// Others may pass through to a disk whose name they know, as a hypervisor must, but not look
// around.
constexpr mode_t kMode = 0711;

Error path_error(int number, const std::string& path) {
  if (number == ELOOP || number == ENOTDIR) {
    return coded_error(ErrorKind::PermissionDenied, code::kTargetUnsafe,
                       "'{}' is not a directory, or is reached by a symbolic link", path);
  }
  return errno_error(number, "directory '" + path + "'");
}

// Nothing: it is not there.
Result<std::optional<UniqueFd>> open_beneath(int parent, const std::string& name,
                                             const std::string& path) {
  UniqueFd fd(openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (fd) return std::optional<UniqueFd>(std::move(fd));
  if (errno == ENOENT) return std::optional<UniqueFd>();
  return path_error(errno, path);
}

Result<UniqueFd> open_class(const std::string& path) {
  // The class's own path is the administrator's word and may hold links.
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return path_error(errno, path);
  return fd;
}

// True: made just now.
Result<bool> make_beneath(int parent, const std::string& name, const std::string& path) {
  if (mkdirat(parent, name.c_str(), kMode) == 0) {
    if (fsync(parent) != 0) return errno_error(errno, "cannot store directory '" + path + "'");
    return true;
  }
  if (errno == EEXIST) return false;
  return path_error(errno, path);
}

// The uid in the marker; nothing without one.
Result<std::optional<std::string>> read_marker(int directory, const std::string& path) {
  const UniqueFd fd(openat(directory, kMarker, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  if (!fd && errno == ENOENT) return std::optional<std::string>();
  if (!fd) return path_error(errno, path + "/" + kMarker);
  std::string text(kMaxMarkerBytes, '\0');
  const ssize_t count = pread(fd.get(), text.data(), text.size(), 0);
  if (count < 0) return errno_error(errno, "cannot read '" + path + "/" + kMarker + "'");
  text.resize(static_cast<std::size_t>(count));
  return std::optional<std::string>(text.substr(0, text.find('\n')));
}

// Created under another name and renamed: a marker is whole or absent.
Result<void> write_marker(int directory, const std::string& uid, const std::string& path) {
  const std::string temporary = std::string(kMarker) + ".new";
  const auto failed = [&] { return errno_error(errno, "cannot mark '" + path + "'"); };
  const UniqueFd fd(openat(directory, temporary.c_str(),
                           O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return failed();
  const std::string text = uid + "\n";
  TRY(write_fully(fd.get(), 0, std::as_bytes(std::span(text))));
  if (fsync(fd.get()) != 0 || renameat(directory, temporary.c_str(), directory, kMarker) != 0 ||
      fsync(directory) != 0) {
    return failed();
  }
  return {};
}

Result<std::vector<std::string>> entries(int directory, const std::string& path) {
  UniqueFd copy(openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!copy) return path_error(errno, path);
  const Owned<DIR, closedir> stream(fdopendir(copy.get()));
  if (!stream) return path_error(errno, path);
  static_cast<void>(copy.release());  // the stream's now
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* entry = readdir(stream.get());
    if (entry == nullptr) break;
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  if (errno != 0) return errno_error(errno, "cannot list '" + path + "'");
  return names;
}

// Everything but the marker. A claim holds no directories: one there is not ours to remove.
Result<void> empty(int directory, const std::string& path) {
  const std::vector<std::string> names = TRY(entries(directory, path));
  for (const std::string& name : names) {
    if (name == kMarker) continue;
    if (unlinkat(directory, name.c_str(), 0) != 0 && errno != ENOENT) {
      return errno_error(errno, "cannot remove '" + path + "/" + name + "'");
    }
  }
  return {};
}

Error not_ours(const std::string& path) {
  return coded_error(ErrorKind::AlreadyExists, code::kNameTaken,
                     "directory '{}' exists and does not belong to this claim", path);
}

}  // namespace

bool is_safe_name(std::string_view name) {
  return !name.empty() && name.size() <= 253 && name.front() != '.' &&
         name.find_first_of(std::string_view("/\0\n", 3)) == std::string_view::npos;
}

std::string claim_path(const std::string& class_path, const kube::ObjectKey& key) {
  return class_path + "/" + key.ns + "/" + key.name;
}

Result<void> make_claim_directory(const std::string& class_path, const kube::ObjectKey& key,
                                  const std::string& uid) {
  const std::string path = claim_path(class_path, key);
  const UniqueFd root = TRY(open_class(class_path));
  TRY(make_beneath(root.get(), key.ns, class_path + "/" + key.ns));
  const std::optional<UniqueFd> ns =
      TRY(open_beneath(root.get(), key.ns, class_path + "/" + key.ns));
  if (!ns) return make_error(ErrorKind::Aborted, "directory '{}' vanished", path);
  const bool made = TRY(make_beneath(ns->get(), key.name, path));
  const std::optional<UniqueFd> claim = TRY(open_beneath(ns->get(), key.name, path));
  if (!claim) return make_error(ErrorKind::Aborted, "directory '{}' vanished", path);
  if (!made) {
    const std::optional<std::string> marker = TRY(read_marker(claim->get(), path));
    if (marker == uid) return {};
    // Empty without a marker: we were killed between mkdir and the marker.
    if (!marker) {
      const std::vector<std::string> names = TRY(entries(claim->get(), path));
      for (const std::string& name : names) {
        if (!name.starts_with(kMarker)) return not_ours(path);
      }
    }
    if (marker) TRY(empty(claim->get(), path));
  }
  return write_marker(claim->get(), uid, path);
}

Result<void> remove_claim_directory(const std::string& class_path, const kube::ObjectKey& key,
                                    const std::string& uid) {
  const std::string path = claim_path(class_path, key);
  const UniqueFd root = TRY(open_class(class_path));
  const std::optional<UniqueFd> ns =
      TRY(open_beneath(root.get(), key.ns, class_path + "/" + key.ns));
  if (!ns) return {};
  const std::optional<UniqueFd> claim = TRY(open_beneath(ns->get(), key.name, path));
  if (!claim) return {};
  const std::optional<std::string> marker = TRY(read_marker(claim->get(), path));
  if (marker && *marker != uid) return not_ours(path);
  if (!marker) {
    const std::vector<std::string> names = TRY(entries(claim->get(), path));
    if (!names.empty()) return not_ours(path);
  } else {
    TRY(empty(claim->get(), path));
    if (unlinkat(claim->get(), kMarker, 0) != 0 && errno != ENOENT) {
      return errno_error(errno, "cannot remove the marker of '" + path + "'");
    }
  }
  if (unlinkat(ns->get(), key.name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) {
    return errno_error(errno, "cannot remove '" + path + "'");
  }
  return {};
}

}  // namespace vmferry::volumes
