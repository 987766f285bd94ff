#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "common/catalogue.h"
#include "transfer/aligned_buffer.h"
#include "transfer/chunks.h"
#include "transfer/copy.h"
#include "transfer/digest.h"
#include "transfer/plan.h"
#include "transfer/read_gate.h"

namespace vmferry {

// What the threads of one transfer share. Everything here is a reference, constant or atomic.

// The first error of any thread; it stops the others. That the source has changed is told whatever
// else came first: nothing that was copied is to be believed then.
class FirstError {
 public:
  void set(Error error) {
    {
      const std::lock_guard lock(mutex_);
      const bool changed = error.code() == code::kSourceChanged;
      if (error_ && !(changed && error_->code() != code::kSourceChanged)) return;
      error_ = std::move(error);
    }
    stop_.request_stop();
  }
  std::optional<Error> get() const {
    const std::lock_guard lock(mutex_);
    return error_;
  }
  std::stop_token token() const { return stop_.get_token(); }

 private:
  mutable std::mutex mutex_;
  std::optional<Error> error_;
  std::stop_source stop_;
};

// See CopyProgress for the meaning of the byte counters.
struct CopyCounters {
  std::atomic<CopyPhase> phase{CopyPhase::Starting};
  std::atomic<std::uint64_t> to_move{0};
  std::atomic<bool> to_move_final{false};
  std::atomic<std::uint64_t> moved{0};
  std::atomic<std::uint64_t> resumed{0};
  std::atomic<std::uint64_t> zero{0};
  std::atomic<std::uint64_t> verified{0};
  std::atomic<std::uint64_t> durable{0};
  std::atomic<std::uint64_t> completed{0};  // bytes of done chunks: what a checkpoint would save
  std::atomic<bool> saved{false};           // when the copying ended
  std::atomic<int> in_source{0};            // threads inside a call of the source: may stall
};

// Counts a thread as being inside the source.
class InSource {
 public:
  explicit InSource(CopyCounters& counters) : counters_(counters) { ++counters_.in_source; }
  ~InSource() { --counters_.in_source; }
  InSource(const InSource&) = delete;
  InSource& operator=(const InSource&) = delete;

 private:
  CopyCounters& counters_;
};

struct CopyState {
  CopyState(DiskSource& from, DiskSink& to, Journal* saved, Throttle* limit, const CopyOptions& how,
            const Clock& time, const Logger& logger)
      : source(from),
        sink(to),
        journal(saved),
        throttle(limit),
        options(how),
        clock(time),
        log(logger),
        size_bytes(from.size_bytes()),
        hints(from.hints()),
        done(chunk_count_of(size_bytes)),
        durable(chunk_count_of(size_bytes)) {}

  DiskSource& source;
  DiskSink& sink;
  Journal* const journal;    // may be null
  Throttle* const throttle;  // may be null
  const CopyOptions options;
  const Clock& clock;
  const Logger& log;
  const std::uint64_t size_bytes;
  const SourceHints hints;
  bool target_is_zero = false;
  std::mutex flushing;        // one flush at a time: see flush_target
  bool flush_failed = false;  // under `flushing`

  std::unique_ptr<LeafTable> leaves;
  ChunkBitmap done;     // leaf stored and chunk written (or zero on a zero target)
  ChunkBitmap durable;  // and flushed, and recorded in the journal
  CopyCounters counters;
  FirstError failure;
  // One piece of memory, so that two buffers of 1 MiB share a huge page.
  std::optional<AlignedBuffer> memory;
  std::vector<std::span<std::byte>> buffers;  // of it, one a worker
  std::optional<ReadGate> read_gate;          // for all workers
};

}  // namespace vmferry
