#include "transfer/open_sink.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "common/catalogue.h"
#include "common/fd.h"
#include "transfer/sinks/block_device_sink.h"
#include "transfer/sinks/file_sink.h"

namespace vmferry {
namespace {

constexpr char kDiskImage[] = "disk.img";  // what KubeVirt expects on a filesystem volume

struct SplitPath {
  std::string directory;
  std::string name;
};

SplitPath split(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

// A descriptor that the caller opened and proved: the only link that is followed, for nobody can
// put one there from inside a volume.
bool is_own_descriptor(const std::string& path) {
  constexpr std::string_view kPrefix = "/proc/self/fd/";
  return path.starts_with(kPrefix) && path.size() > kPrefix.size() &&
         path.find_first_not_of("0123456789", kPrefix.size()) == std::string::npos;
}

Result<UniqueFd> open_directory(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return errno_error(errno, fmt::format("cannot open directory '{}'", path));
  return fd;
}

}  // namespace

Result<std::unique_ptr<DiskSink>> open_sink(const SinkOptions& options) {
  std::string path = options.path;
  // "link/" would follow the link in spite of O_NOFOLLOW.
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (path.empty()) return Error(ErrorKind::InvalidArgument, "the target has no path");
  if (options.size_bytes > static_cast<std::uint64_t>(INT64_MAX)) {
    return make_error(ErrorKind::InvalidArgument, "'{}': a disk of {} bytes", path,
                      options.size_bytes);
  }
  const std::string& shown = options.name.empty() ? path : options.name;
  const int follow = is_own_descriptor(path) ? 0 : O_NOFOLLOW;
  const UniqueFd probe(::open(path.c_str(), O_PATH | O_CLOEXEC | follow));
  if (!probe && errno != ENOENT) return errno_error(errno, fmt::format("cannot open '{}'", path));

  const SplitPath parts = split(path);
  if (!probe) {
    if (options.resume) return make_error(ErrorKind::NotFound, "'{}' does not exist", path);
    return open_file_sink(options, TRY(open_directory(parts.directory)), parts.name, shown);
  }
  struct stat target {};
  if (::fstat(probe.get(), &target) != 0) {
    return errno_error(errno, fmt::format("'{}': stat", path));
  }
  if (S_ISBLK(target.st_mode)) return open_block_device_sink(options, probe, shown);
  if (S_ISDIR(target.st_mode)) {
    UniqueFd directory = TRY(open_directory(fmt::format("/proc/self/fd/{}", probe.get())));
    return open_file_sink(options, std::move(directory), kDiskImage, shown + "/" + kDiskImage);
  }
  if (S_ISREG(target.st_mode) && follow != 0) {
    return open_file_sink(options, TRY(open_directory(parts.directory)), parts.name, shown);
  }
  if (S_ISLNK(target.st_mode)) {
    return coded_error(ErrorKind::InvalidArgument, code::kTargetUnsafe, "'{}' is a symbolic link",
                       path);
  }
  return coded_error(ErrorKind::InvalidArgument, code::kTargetUnsafe,
                     "'{}' is neither a file, a block device nor a directory", path);
}

}  // namespace vmferry
