#include "transfer/checkpoint.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <vector>

#include "common/catalogue.h"

namespace vmferry {
namespace {

constexpr std::uint64_t kMostChunksPerRecord = 16384;  // bounds memory: found zeros come fast
constexpr std::uint64_t kLeastBytes = 16u << 20;       // less is not worth two flushes
constexpr int kFirstSteps = 5;   // the first interval is that part of the usual one, then they grow
constexpr int kTimesLonger = 1;  // the copy goes on undisturbed for that times a checkpoint
constexpr std::chrono::milliseconds kTick{10};

}  // namespace

Result<void> flush_target(CopyState& state) {
  // A flush after a failed one, or beside it, may succeed although data was lost (the kernel
  // reports an error once), so they come one by one and the first failure stays.
  const std::lock_guard lock(state.flushing);
  if (state.flush_failed) {
    return coded_error(ErrorKind::DataLoss, code::kTargetIo,
                       "an earlier flush of the target failed");
  }
  Result<void> flushed = state.sink.flush();
  if (flushed) return {};
  state.flush_failed = true;
  return std::move(flushed).error().with_context("flush of the target");
}

Result<void> record_chunks(CopyState& state, const std::vector<std::uint64_t>& fresh) {
  std::vector<DurableChunk> chunks;
  for (std::size_t begin = 0; begin < fresh.size(); begin += kMostChunksPerRecord) {
    const std::size_t end = std::min(fresh.size(), begin + kMostChunksPerRecord);
    chunks.clear();
    std::uint64_t bytes = 0;
    for (std::size_t i = begin; i < end; ++i) {
      const std::span<const std::byte> leaf = state.leaves->leaf(fresh[i]);
      chunks.push_back({fresh[i], {leaf.begin(), leaf.end()}});
      if (!state.durable.test(fresh[i])) bytes += chunk_range(fresh[i], state.size_bytes).length;
    }
    TRY(of_journal(state.journal->record(chunks)));
    for (const DurableChunk& chunk : chunks) state.durable.set(chunk.index);
    state.counters.durable += bytes;
  }
  return {};
}

Result<void> forget_chunks(CopyState& state, const std::vector<std::uint64_t>& chunks) {
  if (state.journal == nullptr) return {};
  for (const std::uint64_t index : chunks) {
    if (!state.durable.test(index)) continue;
    state.durable.clear(index);
    state.counters.durable -= chunk_range(index, state.size_bytes).length;
  }
  return of_journal(state.journal->forget(chunks));
}

Result<void> invalidate_journal(CopyState& state) {
  if (state.journal == nullptr) return {};
  state.counters.durable = 0;
  return of_journal(state.journal->invalidate());
}

Result<void> complete_journal(CopyState& state) {
  if (state.journal == nullptr) return {};
  return of_journal(state.journal->mark_complete());
}

Result<void> save_checkpoint(CopyState& state) {
  // Words are read before the flush: a chunk that completes meanwhile waits for the next one.
  std::vector<std::uint64_t> fresh;
  for (std::uint64_t at = state.done.find_beyond(state.durable, 0); at < state.done.count();
       at = state.done.find_beyond(state.durable, at + 1)) {
    fresh.push_back(at);
  }
  TRY(flush_target(state));
  if (state.journal == nullptr) return {};
  return record_chunks(state, fresh);
}

Result<void> run_checkpoints(CopyState& state, std::stop_token stop) {
  if (state.journal == nullptr) return {};
  std::mutex mutex;
  std::condition_variable_any never;
  const auto tick = std::min(state.options.checkpoint_every, kTick);
  // What a crash costs at most, but for what is in flight: a hundredth of the disk.
  const std::uint64_t worth =
      std::min(state.options.checkpoint_bytes, std::max(kLeastBytes, state.size_bytes / 256));
  SteadyTime saved_at = state.clock.steady();
  SteadyTime not_before = saved_at;
  std::uint64_t saved_bytes = 0;
  int step = 1;
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(mutex);
      never.wait_for(lock, stop, tick, [] { return false; });
    }
    if (stop.stop_requested()) break;  // the last checkpoint is the caller's
    const std::uint64_t completed = state.counters.completed;
    const SteadyTime begin = state.clock.steady();
    const bool due = begin - saved_at >= state.options.checkpoint_every * step / kFirstSteps ||
                     (completed - saved_bytes >= worth && begin >= not_before);
    if (!due || completed == saved_bytes) continue;
    TRY(save_checkpoint(state));
    saved_at = state.clock.steady();
    step = std::min(step + 1, kFirstSteps);
    not_before = saved_at + (saved_at - begin) * kTimesLonger;
    saved_bytes = completed;
  }
  return {};
}

}  // namespace vmferry
