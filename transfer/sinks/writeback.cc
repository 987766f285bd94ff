#include "transfer/sinks/writeback.h"

#include <fcntl.h>
#include <unistd.h>

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
  if (::sync_file_range(fd_, offset, length, SYNC_FILE_RANGE_WRITE) != 0) note(errno);
  {
    const std::lock_guard lock(mutex_);
    behind_.push_back(range);
    behind_bytes_ += range.length;
  }
  changed_.notify_one();
}

int Writeback::sync() {
  const std::lock_guard lock(waiting_);
  while (error_ == 0 && ::fdatasync(fd_) != 0) {
    if (errno != EINTR) note(errno);
  }
  return error_;
}

void Writeback::note(int error_number) {
  // These say that the call is not to be had here, and nothing about data.
  for (const int refusal : {ENOSYS, EINVAL, ESPIPE, EINTR}) {
    if (error_number == refusal) return;
  }
  int none = 0;
  error_.compare_exchange_strong(none, error_number);
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
    {
      const std::lock_guard lock(waiting_);
      if (::sync_file_range(fd_, offset, length, kAll) != 0) note(errno);
    }
    (void)::posix_fadvise(fd_, offset, length, POSIX_FADV_DONTNEED);  // a hint
  }
}

}  // namespace vmferry
