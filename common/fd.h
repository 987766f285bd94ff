#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "common/result.h"

namespace vmferry {

// Owns a file descriptor; closes it, ignoring errors, when destroyed.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset();

 private:
  int fd_ = -1;
};

// All or nothing, retrying EINTR and short counts. A read that meets the end is DataLoss.
Result<void> read_fully(int fd, std::uint64_t offset, std::span<std::byte> into);
Result<void> write_fully(int fd, std::uint64_t offset, std::span<const std::byte> from);

// Whole small files. write_file_atomically: temporary file in the same directory, fsync, rename,
// fsync of the directory; afterwards either the old or the new content survives a crash.
Result<std::string> read_file(const std::string& path, std::uint64_t max_bytes = 64 << 20);
Result<void> write_file_atomically(const std::string& path, std::string_view content,
                                   unsigned mode = 0644);
Result<void> make_directories(const std::string& path, unsigned mode = 0755);

// An eventfd: wakes a poll loop.
class WakeFd {
 public:
  // For what a program cannot begin without: ends it when there is no descriptor to be had.
  WakeFd();
  // For all else. Unavailable: a shortage that may pass.
  static Result<WakeFd> make();
  int get() const { return fd_.get(); }
  void signal() const;
  void clear() const;

 private:
  explicit WakeFd(UniqueFd fd) : fd_(std::move(fd)) {}

  UniqueFd fd_;
};

}  // namespace vmferry
