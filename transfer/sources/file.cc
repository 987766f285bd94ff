#include "transfer/sources/file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "common/catalogue.h"

namespace vmferry {
namespace {

constexpr std::uint64_t kDirectAlignment =
    4096;  // of memory, offset and length: enough for any disk
constexpr std::size_t kExtentsPerAnswer = 1024;

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string time_text(const timespec& time) {
  return fmt::format("{}.{:09}", time.tv_sec, time.tv_nsec);
}

}  // namespace

Result<std::string> path_of_file_url(std::string_view url) {
  if (!url.starts_with("file:")) return std::string(url);
  std::string_view path = url.substr(5);
  if (path.starts_with("//")) path.remove_prefix(2);
  if (path.starts_with("localhost/")) path.remove_prefix(9);
  if (!path.starts_with("/")) {
    return make_error(ErrorKind::InvalidArgument, "'{}' does not name a local file", url);
  }
  std::string decoded;
  for (std::size_t i = 0; i < path.size(); ++i) {
    const bool escape = path[i] == '%' && i + 2 < path.size() && hex_digit(path[i + 1]) >= 0 &&
                        hex_digit(path[i + 2]) >= 0;
    decoded +=
        escape ? static_cast<char>(hex_digit(path[i + 1]) * 16 + hex_digit(path[i + 2])) : path[i];
    if (escape) i += 2;
  }
  return decoded;
}

FileSource::FileSource(std::string path, UniqueFd fd, UniqueFd direct, std::uint64_t size_bytes,
                       std::optional<timespec> modified, bool seekable_holes,
                       std::vector<std::pair<std::string, std::string>> identity)
    : path_(std::move(path)),
      fd_(std::move(fd)),
      direct_(std::move(direct)),
      size_bytes_(size_bytes),
      modified_(modified),
      seekable_holes_(seekable_holes),
      identity_(std::move(identity)) {}

Result<std::unique_ptr<FileSource>> FileSource::open(
    const std::string& path, std::vector<std::pair<std::string, std::string>> identity) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd) {
    const int number = errno;
    Error error = errno_error(number, "open source '" + path + "'");
    return number == ENOENT ? std::move(error).with_code(code::kDiskMissing) : error;
  }
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return errno_error(errno, "stat source '" + path + "'");
  std::uint64_t size = 0;
  UniqueFd direct;
  std::optional<timespec> modified;
  bool seekable_holes = false;
  if (S_ISBLK(status.st_mode)) {
    if (::ioctl(fd.get(), BLKGETSIZE64, &size) != 0) {
      return errno_error(errno, "ask the size of source '" + path + "'");
    }
    direct = UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT));
    identity.emplace_back("device", fmt::format("{:x}", status.st_rdev));
  } else if (S_ISREG(status.st_mode)) {
    // Our sinks lock what they write: one that is still being written is no source, and this one
    // does not become a target. A file system without locks answers otherwise, and is read all the
    // same; other programs do not ask for the lock, see check_unchanged().
    if (::flock(fd.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      return coded_error(ErrorKind::Unavailable, code::kTargetBusy,
                         "source '{}' is being written by another process", path);
    }
    size = static_cast<std::uint64_t>(status.st_size);
    // An empty file has no data to seek either: ENXIO.
    seekable_holes = ::lseek(fd.get(), 0, SEEK_HOLE) >= 0;
    ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_SEQUENTIAL);  // a hint: what it answers is no matter
    identity.emplace_back("file", fmt::format("{:x}:{}", status.st_dev, status.st_ino));
    identity.emplace_back("modified", time_text(status.st_mtim));
    modified = status.st_mtim;
  } else {
    return make_error(ErrorKind::InvalidArgument,
                      "source '{}' is neither a file nor a block device", path);
  }
  return std::unique_ptr<FileSource>(new FileSource(path, std::move(fd), std::move(direct), size,
                                                    modified, seekable_holes, std::move(identity)));
}

Result<std::vector<Extent>> FileSource::extents(ByteRange range, std::stop_token stop) {
  if (range.end() > size_bytes_ || range.end() < range.offset) {
    return make_error(ErrorKind::InvalidArgument, "extents beyond the end of the disk");
  }
  if (range.empty() || !seekable_holes_) return std::vector<Extent>{{range, Allocation::Data}};
  std::vector<Extent> answer;
  bool met_end = false;
  const auto seek = [&](std::uint64_t from, int what) {
    const off_t found = ::lseek(fd_.get(), static_cast<off_t>(from), what);
    // ENXIO: no data up to the end. Anything else: not known, so to be read.
    if (found < 0) {
      const bool none = errno == ENXIO && what == SEEK_DATA;
      met_end |= none;
      return none ? range.end() : from;
    }
    return std::clamp(static_cast<std::uint64_t>(found), from, range.end());
  };
  for (std::uint64_t at = range.offset; at < range.end() && answer.size() < kExtentsPerAnswer;) {
    if (stop.stop_requested()) return make_error(ErrorKind::Canceled, "reading was canceled");
    const std::uint64_t data = seek(at, SEEK_DATA);
    if (data > at) answer.push_back({{at, data - at}, Allocation::Zero});
    if (data == range.end()) break;
    std::uint64_t hole = seek(data, SEEK_HOLE);
    if (hole == data) hole = range.end();
    answer.push_back({{data, hole - data}, Allocation::Data});
    at = hole;
  }
  // Of a file that has been cut off there is no data either, and no zeros.
  if (met_end) TRY(check_unchanged());
  return answer;
}

Result<void> FileSource::read(std::uint64_t offset, std::span<std::byte> into,
                              std::stop_token stop) {
  if (stop.stop_requested()) return make_error(ErrorKind::Canceled, "reading was canceled");
  const ByteRange range = TRY(ByteRange::make(offset, into.size()));
  if (range.end() > size_bytes_) {
    return coded_error(ErrorKind::DataLoss, code::kSourceRead,
                       "bytes {}..{} are beyond the end of the disk ({} bytes)", range.offset,
                       range.end(), size_bytes_);
  }
  const bool aligned = offset % kDirectAlignment == 0 && into.size() % kDirectAlignment == 0 &&
                       reinterpret_cast<std::uintptr_t>(into.data()) % kDirectAlignment == 0;
  const int fd = direct_ && aligned ? direct_.get() : fd_.get();
  stats_.add_request();
  Result<void> done = read_fully(fd, offset, into);
  if (!done) {
    TRY(check_unchanged());
    return std::move(done).error().with_code(code::kSourceRead);
  }
  stats_.add_wire_bytes(into.size());
  return {};
}

Result<void> FileSource::check_unchanged() {
  if (!modified_) return {};
  struct stat now {};
  if (::fstat(fd_.get(), &now) != 0) return errno_error(errno, "stat source '" + path_ + "'");
  const auto size = static_cast<std::uint64_t>(now.st_size);
  if (size != size_bytes_) {
    return coded_error(ErrorKind::DataLoss, code::kSourceChanged,
                       "source '{}' has {} bytes by now, it had {} when it was opened", path_, size,
                       size_bytes_);
  }
  if (time_text(now.st_mtim) != time_text(*modified_)) {
    return coded_error(ErrorKind::DataLoss, code::kSourceChanged,
                       "source '{}' was written to while it was copied", path_);
  }
  return {};
}

}  // namespace vmferry
