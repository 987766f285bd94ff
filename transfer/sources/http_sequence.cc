#include "transfer/sources/http_sequence.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/catalogue.h"
#include "common/thread.h"

namespace vmferry {
namespace {

constexpr std::size_t kMostQueuedBytes = 16u << 20;
constexpr std::size_t kBlockBytes = 1u << 20;  // libcurl hands out 16 KiB at a time

}  // namespace

HttpSequence::HttpSequence(HttpSession& session, const HttpFile& file)
    : session_(session), file_(file) {}

Result<void> HttpSequence::start() {
  receiver_ = TRY(start_thread(
      [this](const std::stop_token& stop) {
        end(session_.read_whole(
            file_, [&](std::span<const std::byte> bytes) { return put(bytes, stop); }, stop));
      },
      [this](Error error) { end(std::move(error)); }));
  return {};
}

void HttpSequence::end(Result<void> received) {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    if (!received) failed_ = std::move(received).error();
  }
  changed_.notify_all();
}

// On the receiver's thread: waits for room.
bool HttpSequence::put(std::span<const std::byte> bytes, const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait(lock, stop, [this] { return queued_bytes_ < kMostQueuedBytes; })) return false;
  const bool was_empty = queue_.empty();
  if (was_empty || queue_.back().size() + bytes.size() > kBlockBytes) {
    queue_.push_back(std::exchange(spare_, {}));
    queue_.back().reserve(kBlockBytes);
  }
  queue_.back().insert(queue_.back().end(), bytes.begin(), bytes.end());
  queued_bytes_ += bytes.size();
  lock.unlock();
  if (was_empty) changed_.notify_all();
  return true;
}

// The next `length` bytes, into nothing when `into` is null.
Result<void> HttpSequence::take(std::uint64_t length, std::byte* into,
                                const std::stop_token& stop) {
  while (length > 0) {
    if (used_ == current_.size()) {
      std::unique_lock lock(mutex_);
      if (!changed_.wait(lock, stop, [this] { return !queue_.empty() || ended_; })) {
        return Error(ErrorKind::Canceled, "reading was canceled");
      }
      if (queue_.empty()) {
        if (failed_) return *failed_;
        return coded_error(ErrorKind::DataLoss, code::kSourceRead, "the stream ended early");
      }
      const bool was_full = queued_bytes_ >= kMostQueuedBytes;
      current_.clear();
      spare_ = std::exchange(current_, std::move(queue_.front()));
      used_ = 0;
      queue_.pop_front();
      queued_bytes_ -= current_.size();
      lock.unlock();
      if (was_full) changed_.notify_all();
    }
    const std::size_t step = std::min<std::uint64_t>(length, current_.size() - used_);
    if (into != nullptr) {
      std::memcpy(into, current_.data() + used_, step);
      into += step;
    }
    used_ += step;
    position_ += step;
    length -= step;
  }
  return {};
}

Result<void> HttpSequence::read(std::uint64_t offset, std::span<std::byte> into,
                                std::stop_token stop) {
  const std::lock_guard lock(reading_);
  if (stop.stop_requested()) return Error(ErrorKind::Canceled, "reading was canceled");
  if (offset < position_) {
    return make_error(ErrorKind::InvalidArgument,
                      "offset {} is read after {}: the server has no ranges", offset, position_);
  }
  if (!receiver_.joinable()) TRY(start());
  TRY(take(offset - position_, nullptr, stop));
  return take(into.size(), into.data(), stop);
}

}  // namespace vmferry
