#include "agent/beneath.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include <linux/openat2.h>

#include "common/catalogue.h"
#include "common/handle.h"

namespace vmferry {

Result<std::optional<UniqueFd>> open_beneath(int root, const std::string& path, int flags) {
  struct open_how how {};
  how.flags = static_cast<std::uint64_t>(static_cast<unsigned>(flags | O_CLOEXEC));
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  while (true) {
    const long fd = ::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how);
    if (fd >= 0) return std::optional<UniqueFd>(UniqueFd(static_cast<int>(fd)));
    if (errno == EINTR || errno == EAGAIN) continue;  // EAGAIN: a rename raced with the walk
    if (errno == ENOENT) return std::optional<UniqueFd>();
    if (errno == ELOOP || errno == EXDEV || errno == ENOTDIR) {
      return coded_error(ErrorKind::PermissionDenied, code::kTargetUnsafe,
                         "'{}' is reached by a symbolic link or is not what it must be", path);
    }
    return errno_error(errno, fmt::format("cannot open '{}'", path));
  }
}

Result<std::vector<std::string>> directory_entries(int directory, const std::string& shown) {
  UniqueFd copy(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!copy) return errno_error(errno, fmt::format("cannot list '{}'", shown));
  const Owned<DIR, closedir> stream(::fdopendir(copy.get()));
  if (!stream) return errno_error(errno, fmt::format("cannot list '{}'", shown));
  static_cast<void>(copy.release());  // the stream's now
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return errno_error(errno, fmt::format("cannot list '{}'", shown));
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace vmferry
