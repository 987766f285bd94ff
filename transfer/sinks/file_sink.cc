#include "transfer/sinks/file_sink.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "common/catalogue.h"
#include "common/id.h"
#include "transfer/sinks/allocate_ahead.h"
#include "transfer/sinks/direct_file.h"
#include "transfer/sinks/target_error.h"
#include "transfer/sinks/zero_ladder.h"

namespace vmferry {
namespace {

// A random mark, new each time the file is started from nothing. It makes the file's identity
// change with its content, also when it is truncated in place, and travels with the volume.
constexpr char kMarkName[] = "user.vmferry.mark";

int punch(int fd, ByteRange range) {
  return ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                     static_cast<off_t>(range.offset), static_cast<off_t>(range.length)) == 0
             ? 0
             : errno;
}

int zero_range(int fd, ByteRange range) {
  return ::fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
                     static_cast<off_t>(range.offset), static_cast<off_t>(range.length)) == 0
             ? 0
             : errno;
}

int allocate(int fd, ByteRange range) {
  return ::fallocate(fd, 0, static_cast<off_t>(range.offset), static_cast<off_t>(range.length)) == 0
             ? 0
             : errno;
}

// Sparse: give space back where possible. Thick: keep it.
std::vector<ZeroLadder::Step> zero_steps(int fd, bool thick, const WriteFence* fence) {
  const ZeroLadder::Step keep{"zero range", 1u << 30,
                              [fd](ByteRange range) { return zero_range(fd, range); }};
  const ZeroLadder::Step give{"punch hole", 1u << 30, [fd, thick, fence](ByteRange range) {
                                const int failed = punch(fd, range);
                                if (failed != 0 || !thick) return failed;
                                // Interrupted: the ladder asks the fence again, and it tells.
                                return check_fence(fence) ? allocate(fd, range) : EINTR;
                              }};
  return thick ? std::vector{keep, give} : std::vector{give, keep};
}

std::string read_mark(int fd) {
  char value[64];
  const ssize_t length = ::fgetxattr(fd, kMarkName, value, sizeof value);
  return length > 0 ? std::string(value, static_cast<std::size_t>(length)) : std::string();
}

class FileSink final : public DiskSink {
 public:
  FileSink(UniqueFd directory, UniqueFd buffered, UniqueFd direct, const SinkOptions& options,
           std::string name)
      : directory_(std::move(directory)),
        file_(std::move(buffered), std::move(direct), options.size_bytes, 1, std::move(name),
              options.fence),
        initially_zero_(!options.resume),
        ladder_(
            zero_steps(file_.fd(), options.preallocate, options.fence),
            [this](ByteRange range) { return file_.write_zeros(range.offset, range.length); },
            [this](int failed, std::string_view step, ByteRange range) {
              return target_error(failed, file_.fd(), file_.name(),
                                  fmt::format("{} at offset {}", step, range.offset),
                                  file_.size_bytes());
            },
            options.fence) {
    // Of a resumed file it is not known what was written, a thick one has its space, and buffered
    // writes get theirs when they are written back.
    if (!options.resume && !options.preallocate && file_.is_direct()) {
      ahead_ = std::make_unique<AllocateAhead>(file_.fd(), options.size_bytes, options.fence);
    }
  }

  std::uint64_t size_bytes() const override { return file_.size_bytes(); }
  std::uint64_t alignment() const override { return DirectFile::kAlignment; }
  bool initially_zero() const override { return initially_zero_; }

  // Inode, birth time and mark, and not the device number: that differs from node to node for one
  // and the same volume.
  std::vector<std::pair<std::string, std::string>> identity() const override {
    std::vector<std::pair<std::string, std::string>> pairs{
        {"kind", "file"}, {"size_bytes", std::to_string(size_bytes())}};
    struct statx file {};
    if (::statx(file_.fd(), "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &file) == 0) {
      pairs.emplace_back("inode", std::to_string(file.stx_ino));
      if ((file.stx_mask & STATX_BTIME) != 0) {
        pairs.emplace_back("born",
                           fmt::format("{}.{:09}", file.stx_btime.tv_sec, file.stx_btime.tv_nsec));
      }
    }
    if (std::string mark = read_mark(file_.fd()); !mark.empty()) {
      pairs.emplace_back("mark", std::move(mark));
    }
    return pairs;
  }

  Result<void> write(std::uint64_t offset, std::span<const std::byte> from) override {
    if (ahead_ == nullptr) return file_.write(offset, from);
    ahead_->before_write({offset, from.size()});
    Result<void> written = file_.write(offset, from);
    if (written || written.error().code() != code::kTargetFull || !ahead_->has_allocated()) {
      return written;
    }
    // What was allocated and is not needed may be all that is missing.
    (void)ahead_->give_back();
    return file_.write(offset, from);
  }

  Result<void> zero(ByteRange range, std::stop_token stop) override {
    if (range.end() > size_bytes()) {
      return make_error(ErrorKind::InvalidArgument, "'{}': zero {}+{} is beyond its end",
                        file_.name(), range.offset, range.length);
    }
    return ladder_.zero(range, std::move(stop));
  }

  Result<void> flush() override { return file_.flush(); }

  Result<void> read_back(std::uint64_t offset, std::span<std::byte> into) override {
    return file_.read_back(offset, into);
  }

  Result<std::vector<ByteRange>> known_zero_ranges(ByteRange range) override {
    std::vector<ByteRange> holes;
    std::uint64_t at = range.offset;
    while (at < range.end()) {
      const off_t hole = ::lseek(file_.fd(), static_cast<off_t>(at), SEEK_HOLE);
      if (hole < 0) return holes;  // cannot tell: nothing is known
      const std::uint64_t begin = static_cast<std::uint64_t>(hole);
      if (begin >= range.end()) break;
      const off_t data = ::lseek(file_.fd(), hole, SEEK_DATA);
      if (data < 0 && errno != ENXIO) return holes;
      const std::uint64_t end =
          data < 0 ? range.end() : std::min(range.end(), static_cast<std::uint64_t>(data));
      if (end <= begin) break;
      holes.push_back({begin, end - begin});
      at = end;
    }
    return holes;
  }

  Result<void> finish() override {
    // What cannot be given back is a matter of space only: the content is right.
    if (ahead_ != nullptr) (void)ahead_->give_back();
    TRY(file_.flush());
    for (const int fd : {file_.fd(), directory_.get()}) {
      while (::fsync(fd) != 0) {
        if (errno == EINTR) continue;
        return target_error(errno, file_.fd(), file_.name(), "fsync", size_bytes());
      }
    }
    // All of the above succeeds on a file without a name, and nobody will ever find it.
    struct stat file {};
    if (::fstat(file_.fd(), &file) != 0) {
      return errno_error(errno, fmt::format("'{}': stat", file_.name()));
    }
    if (file.st_nlink == 0) {
      return coded_error(ErrorKind::DataLoss, code::kTargetIo,
                         "'{}' was removed while it was written", file_.name());
    }
    return {};
  }

 private:
  UniqueFd directory_;
  DirectFile file_;
  bool initially_zero_;
  ZeroLadder ladder_;
  std::unique_ptr<AllocateAhead> ahead_;  // may be null
};

Result<void> check_space(int fd, const SinkOptions& options, const std::string& shown) {
  const std::uint64_t needed = options.preallocate ? options.size_bytes : options.data_bytes;
  struct statvfs space {};
  if (::fstatvfs(fd, &space) != 0) return errno_error(errno, fmt::format("'{}': statvfs", shown));
  const std::uint64_t available = static_cast<std::uint64_t>(space.f_bavail) * space.f_frsize;
  if (needed > available) return target_full(shown, needed, available);
  return {};
}

// Drops old content and gives the file its size; unwritten bytes read as zero afterwards.
Result<void> start_over(int fd, const SinkOptions& options, const std::string& shown) {
  TRY(check_fence(options.fence));
  // Mark before content: a crash in between leaves a file that no journal fits.
  const std::string mark = random_hex_id();
  (void)::fsetxattr(fd, kMarkName, mark.data(), mark.size(), 0);  // not on every file system
  if (::fsync(fd) != 0) return target_error(errno, fd, shown, "fsync", options.size_bytes);
  TRY(check_fence(options.fence));  // the fsync may have taken long
  if (::ftruncate(fd, 0) != 0) {
    return target_error(errno, fd, shown, "drop old content", options.size_bytes);
  }
  TRY(check_space(fd, options, shown));
  TRY(check_fence(options.fence));
  if (::ftruncate(fd, static_cast<off_t>(options.size_bytes)) != 0) {
    if (errno == EFBIG || errno == EINVAL) {
      return coded_error(ErrorKind::ResourceExhausted, code::kTargetTooSmall,
                         "'{}': the file system takes no file of {} bytes", shown,
                         options.size_bytes);
    }
    return target_error(errno, fd, shown, "set the size", options.size_bytes);
  }
  if (options.preallocate && options.size_bytes != 0) {
    TRY(check_fence(options.fence));
    const int failed = allocate(fd, {0, options.size_bytes});
    // A file system without preallocation (NFS before 4.2, some FUSE) gets a sparse file.
    if (failed != 0 && failed != EOPNOTSUPP && failed != ENOSYS) {
      return target_error(failed, fd, shown, "preallocate", options.size_bytes);
    }
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<DiskSink>> open_file_sink(const SinkOptions& options, UniqueFd directory,
                                                 const std::string& name,
                                                 const std::string& shown) {
  const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | (options.resume ? 0 : O_CREAT);
  UniqueFd fd(::openat(directory.get(), name.c_str(), flags, 0660));
  if (!fd && errno == ELOOP) {
    return coded_error(ErrorKind::InvalidArgument, code::kTargetUnsafe, "'{}' is a symbolic link",
                       shown);
  }
  if (!fd) return errno_error(errno, fmt::format("cannot open '{}'", shown));

  struct stat file {};
  if (::fstat(fd.get(), &file) != 0) return errno_error(errno, fmt::format("'{}': stat", shown));
  if (!S_ISREG(file.st_mode)) {
    return coded_error(ErrorKind::InvalidArgument, code::kTargetUnsafe,
                       "'{}' is not a regular file", shown);
  }
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) {
      return coded_error(ErrorKind::Unavailable, code::kTargetBusy,
                         "'{}' is being written by another process", shown);
    }
    return errno_error(errno, fmt::format("'{}': flock", shown));
  }
  if (options.resume) {
    if (static_cast<std::uint64_t>(file.st_size) != options.size_bytes) {
      return coded_error(ErrorKind::DataLoss, code::kJournalInvalid,
                         "'{}' has {} bytes instead of {}", shown, file.st_size,
                         options.size_bytes);
    }
  } else {
    TRY(start_over(fd.get(), options, shown));
  }
  UniqueFd direct;
  if (options.direct_io) {
    // Through /proc, so that it is the very file that was checked. Refused by tmpfs and some FUSE.
    const std::string self = fmt::format("/proc/self/fd/{}", fd.get());
    direct = UniqueFd(::open(self.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC));
  }
  return std::unique_ptr<DiskSink>(std::make_unique<FileSink>(std::move(directory), std::move(fd),
                                                              std::move(direct), options, shown));
}

}  // namespace vmferry
