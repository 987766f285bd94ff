#include "transfer/sinks/writeback.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace vmferry {
namespace {

constexpr std::uint64_t kWindowBytes = 256u << 20;

}  // namespace

void Writeback::written(ByteRange range) {
  const auto offset = static_cast<off_t>(range.offset);
  const auto length = static_cast<off_t>(range.length);
  if (::sync_file_range(fd_, offset, length, SYNC_FILE_RANGE_WRITE) != 0) note_refusable(errno);
  {
    const std::lock_guard lock(mutex_);
    if (!has_thread()) return;
    behind_.push_back(range);
    behind_bytes_ += range.length;
  }
  changed_.notify_one();
}

// Under mutex_. Where no thread can be had now the writing was begun all the same, and the next
// write tries again.
bool Writeback::has_thread() {
  if (thread_.joinable()) return true;
  try {
    thread_ = std::jthread([this](std::stop_token stop) { run(std::move(stop)); });
  } catch (const std::system_error&) {
    return false;
  }
  return true;
}

int Writeback::sync() {
  const std::lock_guard lock(waiting_);
  while (error_ == 0 && ::fdatasync(fd_) != 0) {
    if (errno != EINTR) note(errno);  // whatever it is: nothing is known to be durable
  }
  return error_;
}

// Of sync_file_range, some errors say that the call is not to be had here, and nothing about data.
void Writeback::note_refusable(int error_number) {
  for (const int refusal : {ENOSYS, EINVAL, ESPIPE, EINTR}) {
    if (error_number == refusal) return;
  }
  note(error_number);
}

void Writeback::note(int error_number) {
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
      if (::sync_file_range(fd_, offset, length, kAll) != 0) note_refusable(errno);
    }
    (void)::posix_fadvise(fd_, offset, length, POSIX_FADV_DONTNEED);  // a hint
  }
}

}  // namespace vmferry
