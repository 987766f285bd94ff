#include "common/process_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

namespace vmferry {

Result<UniqueFd> lock_process_file(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return errno_error(errno, fmt::format("cannot open '{}'", path));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return errno_error(errno, fmt::format("cannot lock '{}'", path));
    const auto holder = read_file(path, 64);
    return make_error(ErrorKind::Unavailable, "'{}' is held by process {}", path,
                      holder && !holder->empty() ? *holder : "(unknown)");
  }
  const std::string pid = fmt::format("{}", ::getpid());
  if (::ftruncate(fd.get(), 0) != 0)
    return errno_error(errno, fmt::format("cannot write '{}'", path));
  TRY(write_fully(fd.get(), 0, std::as_bytes(std::span(pid))));
  return fd;
}

}  // namespace vmferry
