#include "transfer/run_queue.h"

#include <algorithm>

namespace vmferry {

template <typename Ready>
bool RunQueue::wait(std::unique_lock<std::mutex>& lock, const std::stop_token& stop, Ready ready) {
  // A wait registers with the token, which all workers share, even when there is nothing to wait
  // for: look first.
  return ready() || changed_.wait(lock, stop, ready);
}

bool RunQueue::push(const ChunkRun& run, std::stop_token stop) {
  {
    std::unique_lock lock(mutex_);
    if (!wait(lock, stop, [&] { return runs_.size() < most_runs_; })) return false;
    runs_.push_back(run);
  }
  changed_.notify_all();
  return true;
}

void RunQueue::close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
}

std::optional<ChunkRun> RunQueue::pop(std::uint64_t copy_chunks, std::uint64_t other_chunks,
                                      std::stop_token stop) {
  std::unique_lock lock(mutex_);
  if (!wait(lock, stop, [&] { return closed_ || !runs_.empty(); })) return std::nullopt;
  if (runs_.empty() || stop.stop_requested()) return std::nullopt;
  ChunkRun& front = runs_.front();
  ChunkRun work = front;
  work.count =
      std::min(front.count, front.action == ChunkAction::Copy ? copy_chunks : other_chunks);
  front.first += work.count;
  front.count -= work.count;
  if (front.count != 0) return work;
  runs_.pop_front();
  const bool was_full = runs_.size() + 1 == most_runs_;
  lock.unlock();
  if (was_full) changed_.notify_all();  // only the planner waits for room
  return work;
}

}  // namespace vmferry
