#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <stop_token>

#include "transfer/plan.h"

namespace vmferry {

// Runs of chunks from one planner to many workers, bounded in runs: a fragmented disk's plan never
// stands in memory as a whole.
class RunQueue {
 public:
  explicit RunQueue(std::size_t most_runs = 1024) : most_runs_(most_runs) {}

  // Waits for room. False when stopped.
  bool push(const ChunkRun& run, std::stop_token stop);
  // No more runs will come.
  void close();
  // The next piece of work, cut from the front run: at most `copy_chunks` of a Copy run, at most
  // `other_chunks` of any other. Nothing when all is handed out or when stopped.
  std::optional<ChunkRun> pop(std::uint64_t copy_chunks, std::uint64_t other_chunks,
                              std::stop_token stop);

 private:
  // Until ready(); whether it is.
  template <typename Ready>
  bool wait(std::unique_lock<std::mutex>& lock, const std::stop_token& stop, Ready ready);

  const std::size_t most_runs_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<ChunkRun> runs_;
  bool closed_ = false;
};

}  // namespace vmferry
