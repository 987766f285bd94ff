#include "transfer/watch.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "common/catalogue.h"

namespace vmferry {

CopyProgress progress_of(const CopyState& state) {
  const CopyCounters& counters = state.counters;
  CopyProgress progress;
  progress.phase = counters.phase;
  progress.virtual_bytes = state.size_bytes;
  progress.moved_bytes = counters.moved;  // before to_move: moved never shows more than that
  progress.to_move_final = counters.to_move_final;
  progress.to_move_bytes = counters.to_move;
  progress.resumed_bytes = counters.resumed;
  progress.zero_bytes = counters.zero;
  progress.verified_bytes = counters.verified;
  progress.durable_bytes = counters.durable;
  progress.journal_saved = counters.saved;
  progress.source = state.source.counters();
  return progress;
}

void run_watch(CopyState& state, CopyMonitor& monitor, std::stop_token stop) {
  constexpr std::chrono::milliseconds kTick(200);
  std::mutex mutex;
  std::condition_variable_any never;
  std::uint64_t seen = 0;
  SteadyTime moved_at = state.clock.steady();
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(mutex);
      never.wait_for(lock, stop, kTick, [] { return false; });
    }
    const CopyProgress progress = progress_of(state);
    monitor.publish(progress);
    if (state.journal != nullptr) state.journal->catch_up();
    // Bytes on the wire count as well: a long request may take longer than the limit and be alive.
    const std::uint64_t now = progress.moved_bytes + progress.zero_bytes + progress.to_move_bytes +
                              progress.source.wire_bytes;
    const SteadyTime time = state.clock.steady();
    if (now != seen || state.counters.in_source == 0) {
      seen = now;
      moved_at = time;
    } else if (time - moved_at >= state.options.stall_limit) {
      const std::string& why = progress.source.last_error;
      state.failure.set(coded_error(
          ErrorKind::Unavailable, code::kStalled, "no byte from the source for {} s{}{}",
          state.options.stall_limit.count(), why.empty() ? "" : "; last error: ", why));
    }
  }
}

CopyProgress CopyMonitor::snapshot() const {
  const std::lock_guard lock(mutex_);
  return progress_;
}

void CopyMonitor::publish(const CopyProgress& progress) {
  const std::lock_guard lock(mutex_);
  progress_ = progress;
}

std::string_view to_string(CopyPhase phase) {
  switch (phase) {
    case CopyPhase::Starting:
      return "Starting";
    case CopyPhase::Copying:
      return "Copying";
    case CopyPhase::Flushing:
      return "Flushing";
    case CopyPhase::Verifying:
      return "Verifying";
    case CopyPhase::Done:
      return "Done";
  }
  return "Starting";
}

}  // namespace vmferry
