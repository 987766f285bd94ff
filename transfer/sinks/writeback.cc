#include "transfer/sinks/writeback.h"

#include <fcntl.h>

#include <cerrno>

namespace vmferry {
namespace {

constexpr std::uint64_t kWindowBytes = 256u << 20;

}  // namespace

Writeback::Writeback(int fd)
    : fd_(fd), thread_([this](std::stop_token stop) { run(std::move(stop)); }) {}

void Writeback::written(ByteRange range) {
  const auto offset = static_cast<off_t>(range.offset);
  const auto length = static_cast<off_t>(range.length);
  if (::sync_file_range(fd_, offset, length, SYNC_FILE_RANGE_WRITE) != 0 && errno == EIO) {
    error_ = EIO;
  }
  {
    const std::lock_guard lock(mutex_);
    behind_.push_back(range);
    behind_bytes_ += range.length;
  }
  changed_.notify_one();
}

void Writeback::run(std::stop_token stop) {
  while (true) {
    ByteRange oldest;
    {
      std::unique_lock lock(mutex_);
      if (!changed_.wait(lock, stop, [&] { return behind_bytes_ > kWindowBytes; })) return;
      oldest = behind_.front();
      behind_.pop_front();
      behind_bytes_ -= oldest.length;
    }
    const auto offset = static_cast<off_t>(oldest.offset);
    const auto length = static_cast<off_t>(oldest.length);
    constexpr unsigned kAll =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    if (::sync_file_range(fd_, offset, length, kAll) != 0 && errno == EIO) error_ = EIO;
    (void)::posix_fadvise(fd_, offset, length, POSIX_FADV_DONTNEED);  // a hint
  }
}

}  // namespace vmferry
