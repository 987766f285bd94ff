#include "transfer/sinks/target_error.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <cerrno>
#include <cstring>

#include "common/bytes.h"
#include "common/catalogue.h"

namespace vmferry {

Error target_full(std::string_view target, std::uint64_t needed, std::uint64_t available) {
  return coded_error(ErrorKind::ResourceExhausted, code::kTargetFull,
                     "'{}': needed {} bytes ({}), available {} bytes ({})", target, needed,
                     human_bytes(needed), available, human_bytes(available));
}

Error target_error(int error_number, int fd, std::string_view target, std::string_view what,
                   std::uint64_t size_bytes) {
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG: {
      struct stat file {};
      struct statvfs space {};
      std::uint64_t allocated = 0;
      std::uint64_t available = 0;
      if (::fstat(fd, &file) == 0) allocated = static_cast<std::uint64_t>(file.st_blocks) * 512;
      if (::fstatvfs(fd, &space) == 0) {
        available = static_cast<std::uint64_t>(space.f_bavail) * space.f_frsize;
      }
      const std::uint64_t needed = size_bytes > allocated ? size_bytes - allocated : 0;
      return target_full(target, needed, available).with_context(what);
    }
    case EACCES:
    case EPERM:
    case EROFS:
      return errno_error(error_number, fmt::format("'{}': {}", target, what));
    default:
      return coded_error(ErrorKind::DataLoss, code::kTargetIo, "'{}': {}: {}", target, what,
                         std::strerror(error_number));
  }
}

}  // namespace vmferry
