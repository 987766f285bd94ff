#include "common/fd.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "common/check.h"

namespace vmferry {

void UniqueFd::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Result<void> read_fully(int fd, std::uint64_t offset, std::span<std::byte> into) {
  while (!into.empty()) {
    const ssize_t count = ::pread(fd, into.data(), into.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno_error(errno, fmt::format("cannot read at byte {}", offset));
    if (count == 0) return make_error(ErrorKind::DataLoss, "end of data at byte {}", offset);
    into = into.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
  return {};
}

Result<void> write_fully(int fd, std::uint64_t offset, std::span<const std::byte> from) {
  while (!from.empty()) {
    const ssize_t count = ::pwrite(fd, from.data(), from.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno_error(errno, fmt::format("cannot write at byte {}", offset));
    if (count == 0) return make_error(ErrorKind::DataLoss, "nothing written at byte {}", offset);
    from = from.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
  return {};
}

Result<std::string> read_file(const std::string& path, std::uint64_t max_bytes) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return errno_error(errno, fmt::format("cannot open '{}'", path));
  const auto too_large = [&] {
    return make_error(ErrorKind::ResourceExhausted, "'{}' is larger than {} bytes", path,
                      max_bytes);
  };
  // Before all that it may have is read: gigabytes take longer than some callers live.
  struct stat state {};
  if (::fstat(fd.get(), &state) == 0 && S_ISREG(state.st_mode) &&
      static_cast<std::uint64_t>(state.st_size) > max_bytes) {
    return too_large();
  }
  std::string content;
  char buffer[65536];
  while (true) {
    const ssize_t count = ::read(fd.get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno_error(errno, fmt::format("cannot read '{}'", path));
    if (count == 0) return content;
    content.append(buffer, static_cast<std::size_t>(count));
    if (content.size() > max_bytes) return too_large();
  }
}

Result<void> write_file_atomically(const std::string& path, std::string_view content,
                                   unsigned mode) {
  const std::string directory = std::filesystem::path(path).parent_path().string();
  std::string temporary = path + ".XXXXXX";
  const UniqueFd fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd) return errno_error(errno, fmt::format("cannot create a file beside '{}'", path));
  const auto give_up = [&](int error_number, std::string_view what) -> Error {
    ::unlink(temporary.c_str());
    return errno_error(error_number, fmt::format("cannot {} '{}'", what, path));
  };
  if (::fchmod(fd.get(), mode) != 0) return give_up(errno, "set the mode of");
  auto written = write_fully(fd.get(), 0, std::as_bytes(std::span(content)));
  if (!written) {
    ::unlink(temporary.c_str());
    return std::move(written).error().with_context(path);
  }
  if (::fsync(fd.get()) != 0) return give_up(errno, "sync");
  if (::rename(temporary.c_str(), path.c_str()) != 0) return give_up(errno, "rename to");
  const UniqueFd parent(
      ::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!parent || ::fsync(parent.get()) != 0) {
    return errno_error(errno, fmt::format("cannot sync directory '{}'", directory));
  }
  return {};
}

Result<void> make_directories(const std::string& path, unsigned mode) {
  std::string so_far;
  for (const auto& part : std::filesystem::path(path)) {
    so_far = (std::filesystem::path(so_far) / part).string();
    if (::mkdir(so_far.c_str(), mode) != 0 && errno != EEXIST) {
      return errno_error(errno, fmt::format("cannot create directory '{}'", so_far));
    }
  }
  std::error_code failure;
  if (!std::filesystem::is_directory(path, failure)) {
    return make_error(ErrorKind::InvalidArgument, "'{}' is not a directory", path);
  }
  return {};
}

WakeFd::WakeFd() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) { VMFERRY_CHECK(bool(fd_)); }

Result<WakeFd> WakeFd::make() {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) {
    return make_error(ErrorKind::Unavailable, "cannot make an eventfd: {}", std::strerror(errno));
  }
  return WakeFd(std::move(fd));
}

void WakeFd::signal() const {
  const std::uint64_t one = 1;
  // The only failure is a full counter, and then the loop is woken already.
  [[maybe_unused]] const ssize_t count = ::write(fd_.get(), &one, sizeof one);
}

void WakeFd::clear() const {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(fd_.get(), &count, sizeof count);
}

}  // namespace vmferry
