#include "transfer/copy_workers.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <thread>

#include "common/catalogue.h"
#include "transfer/run_queue.h"
#include "transfer/transfer_thread.h"
#include "transfer/zero_scan.h"

namespace vmferry {
namespace {

constexpr std::uint64_t kZeroTaskChunks = 1024;      // 1 GiB: a worker looks at `stop` in between
constexpr std::uint64_t kExtentWindow = 2ull << 30;  // NBD asks for at most 4 GiB - 1

// Calls `f(first_piece, end_piece)` for every run of set bits.
template <typename F>
Result<void> for_each_piece_run(PieceMask pieces, F&& f) {
  unsigned at = 0;
  while (at < kPiecesPerChunk) {
    const auto rest = static_cast<PieceMask>(pieces >> at);
    if (rest == 0) break;
    at += static_cast<unsigned>(std::countr_zero(rest));
    const unsigned end =
        at + static_cast<unsigned>(std::countr_one(static_cast<PieceMask>(pieces >> at)));
    TRY(f(at, std::min(end, kPiecesPerChunk)));
    at = end;
  }
  return {};
}

// One worker: reads, scans, hashes and writes chunk after chunk through its one buffer.
class Worker {
 public:
  Worker(CopyState& state, RunQueue& queue, std::span<std::byte> buffer, LeafHasher hasher)
      : state_(state),
        queue_(queue),
        buffer_(buffer),
        hasher_(std::move(hasher)),
        stop_(state.failure.token()) {}

  Result<void> run() {
    while (const std::optional<ChunkRun> work =
               queue_.pop(chunks_at_once(), kZeroTaskChunks, stop_)) {
      switch (work->action) {
        case ChunkAction::Copy:
          TRY(copy(*work));
          break;
        case ChunkAction::Zero:
          TRY(zero(*work));
          break;
        case ChunkAction::Skip:
        case ChunkAction::Resumed:
          break;  // counted by the planner, never queued
      }
    }
    return {};
  }

 private:
  // What was granted comes as fast as the source can, so under a limit all workers together ask for
  // no more than a quarter of a second's worth at once, or a chunk each.
  std::uint64_t chunks_at_once() const {
    const std::uint64_t most = buffer_.size() / kChunkBytes;
    const std::uint64_t share = state_.throttle != nullptr ? state_.throttle->share() : 0;
    if (share == 0) return most;
    return std::clamp<std::uint64_t>(share / 4 / state_.buffers.size() / kChunkBytes, 1, most);
  }

  Result<void> zero(const ChunkRun& run) {
    const ByteRange range{run.first * kChunkBytes, bytes_of(run, state_.size_bytes)};
    TRY(state_.sink.zero(range, stop_));
    // Not marked as done: a resume learns from the extents again that these are zero, and the
    // journal stays proportional to the data.
    state_.counters.zero += range.length;
    return {};
  }

  Result<void> copy(const ChunkRun& run) {
    const std::uint64_t wanted = bytes_to_read(run, state_.size_bytes);
    if (state_.throttle != nullptr) TRY(state_.throttle->acquire(wanted, stop_));
    TRY(read(run));
    for (std::uint64_t i = 0; i < run.count; ++i) {
      const std::uint64_t index = run.first + i;
      const ByteRange range = chunk_range(index, state_.size_bytes);
      TRY(store(index, range, buffer_.subspan(i * kChunkBytes, range.length), run.pieces));
    }
    return {};
  }

  Result<void> read(const ChunkRun& run) {
    const std::uint64_t base = run.first * kChunkBytes;
    const GatePass pass(*state_.read_gate, stop_);
    if (!pass) return Error(ErrorKind::Canceled, "copy stopped");
    const InSource inside(state_.counters);
    if (run.pieces == kAllPieces) {  // neighbouring chunks in one request
      const std::uint64_t length = bytes_of(run, state_.size_bytes);
      return read_context(base, state_.source.read(base, buffer_.first(length), stop_));
    }
    for (std::uint64_t i = 0; i < run.count; ++i) {
      const ByteRange range = chunk_range(run.first + i, state_.size_bytes);
      const std::span<std::byte> chunk = buffer_.subspan(i * kChunkBytes, range.length);
      TRY(for_each_piece_run(run.pieces, [&](unsigned first, unsigned end) -> Result<void> {
        const std::uint64_t from = first * kPieceBytes;
        const std::uint64_t to = std::min(end * kPieceBytes, range.length);
        if (from >= to) return {};
        return read_context(
            range.offset + from,
            state_.source.read(range.offset + from, chunk.subspan(from, to - from), stop_));
      }));
      // The buffer is reused: what was not read holds another chunk's bytes.
      TRY(for_each_piece_run(static_cast<PieceMask>(~run.pieces),
                             [&](unsigned first, unsigned end) -> Result<void> {
                               const std::uint64_t from = first * kPieceBytes;
                               const std::uint64_t to = std::min(end * kPieceBytes, range.length);
                               if (from < to) std::memset(chunk.data() + from, 0, to - from);
                               return {};
                             }));
    }
    return {};
  }

  static Result<void> read_context(std::uint64_t offset, Result<void> result) {
    if (result) return result;
    return std::move(result).error().with_context(fmt::format("source at offset {}", offset));
  }

  Result<void> store(std::uint64_t index, ByteRange range, std::span<const std::byte> chunk,
                     PieceMask pieces) {
    const PieceMask filled = non_zero_pieces(chunk, pieces);
    std::uint64_t zero_bytes = range.length;
    if (filled == 0) {
      state_.leaves->set_zero(index);
      if (!state_.target_is_zero) TRY(state_.sink.zero(range, stop_));
    } else {
      std::byte leaf[kMaxLeafBytes];
      TRY(hasher_.hash(chunk, leaf));
      TRY(write(range, chunk, filled));
      state_.leaves->set(index, leaf);
      zero_bytes -= bytes_to_read({index, 1, ChunkAction::Copy, filled}, state_.size_bytes);
    }
    state_.done.set(index);
    state_.counters.completed += range.length;
    state_.counters.zero += zero_bytes;
    state_.counters.moved +=
        bytes_to_read({index, 1, ChunkAction::Copy, pieces}, state_.size_bytes);
    return {};
  }

  Result<void> write(ByteRange range, std::span<const std::byte> chunk, PieceMask filled) {
    // Zeros inside a chunk stay unwritten only where the target is zero anyway: elsewhere one long
    // write is cheaper than writing and punching in turns.
    if (!state_.target_is_zero) return state_.sink.write(range.offset, chunk);
    return for_each_piece_run(filled, [&](unsigned first, unsigned end) {
      const std::uint64_t from = first * kPieceBytes;
      const std::uint64_t to = std::min(end * kPieceBytes, range.length);
      return state_.sink.write(range.offset + from, chunk.subspan(from, to - from));
    });
  }

  static PieceMask non_zero_pieces(std::span<const std::byte> chunk, PieceMask pieces) {
    PieceMask filled = 0;
    for (unsigned piece = 0; piece < kPiecesPerChunk; ++piece) {
      const std::uint64_t from = piece * kPieceBytes;
      if ((pieces >> piece & 1) == 0 || from >= chunk.size()) continue;
      const std::uint64_t length = std::min(kPieceBytes, chunk.size() - from);
      if (!is_zero(chunk.subspan(from, length))) {
        filled = static_cast<PieceMask>(filled | 1u << piece);
      }
    }
    return filled;
  }

  CopyState& state_;
  RunQueue& queue_;
  std::span<std::byte> buffer_;
  LeafHasher hasher_;
  std::stop_token stop_;
};

// Asks for extents ahead of the workers and queues what they decide.
Result<void> plan_all(CopyState& state, RunQueue& queue, std::stop_token stop) {
  Planner planner(state.size_bytes, {.target_is_zero = state.target_is_zero,
                                     .whole_chunks = state.hints.request_bytes > kChunkBytes,
                                     .durable = &state.durable});
  std::vector<ChunkRun> runs;
  while (planner.position() < state.size_bytes) {
    // A source with one answer for everything is asked once; others in steps that bound the answer.
    const std::uint64_t rest = state.size_bytes - planner.position();
    const ByteRange window{planner.position(), std::min(rest, kExtentWindow)};
    Result<std::vector<Extent>> extents = [&] {
      const InSource inside(state.counters);
      return state.source.extents(window, stop);
    }();
    if (!extents) {
      return std::move(extents).error().with_context(
          fmt::format("extents at offset {}", window.offset));
    }
    std::uint64_t at = window.offset;
    for (const Extent& extent : *extents) {
      if (extent.range.offset != at || extent.range.empty() ||
          extent.range.length > window.end() - at) {
        return coded_error(
            ErrorKind::DataLoss, code::kSourceProtocol,
            "source gave an extent at {} (length {}) where one from {} to {} was due",
            extent.range.offset, extent.range.length, at, window.end());
      }
      at = extent.range.end();
      planner.feed(extent, runs);
    }
    if (at == window.offset) {
      return coded_error(ErrorKind::DataLoss, code::kSourceProtocol,
                         "source gave no extents at offset {}", at);
    }
    for (const ChunkRun& run : runs) {
      CopyCounters& counters = state.counters;
      const std::uint64_t reading = bytes_to_read(run, state.size_bytes);
      const std::uint64_t all = bytes_of(run, state.size_bytes);
      switch (run.action) {
        case ChunkAction::Skip:
          counters.zero += all;
          break;
        case ChunkAction::Resumed:
          counters.to_move += reading;
          counters.moved += reading;
          counters.resumed += reading;
          counters.zero += all - reading;
          break;
        case ChunkAction::Copy:
          counters.to_move += reading;
          [[fallthrough]];
        case ChunkAction::Zero:
          if (!queue.push(run, stop)) return Error(ErrorKind::Canceled, "copy stopped");
          break;
      }
    }
    runs.clear();
  }
  state.counters.to_move_final = true;
  return {};
}

}  // namespace

void copy_all_chunks(CopyState& state) {
  RunQueue queue;
  std::vector<std::jthread> threads;
  try {
    threads.push_back(
        start_transfer_thread(state, [&state, &queue](std::stop_token) -> Result<void> {
          Result<void> planned = plan_all(state, queue, state.failure.token());
          queue.close();
          return planned;
        }));
    for (const std::span<std::byte> buffer : state.buffers) {
      threads.push_back(
          start_transfer_thread(state, [&state, &queue, buffer](std::stop_token) -> Result<void> {
            Worker worker(state, queue, buffer, TRY(LeafHasher::make(state.options.hash)));
            return worker.run();
          }));
    }
  } catch (...) {  // no thread to be had: end those that run
    state.failure.set(caught_error("copy threads"));
  }
}

Result<void> copy_chunk_again(CopyState& state, std::uint64_t index, LeafHasher& hasher,
                              const AlignedBuffer& buffer, std::stop_token stop) {
  const ByteRange range = chunk_range(index, state.size_bytes);
  const std::span<std::byte> chunk = buffer.span().first(range.length);
  if (state.throttle != nullptr) TRY(state.throttle->acquire(range.length, stop));
  {
    const InSource inside(state.counters);
    TRY(state.source.read(range.offset, chunk, stop));
  }
  std::byte leaf[kMaxLeafBytes];
  TRY(hasher.hash(chunk, leaf));
  if (!std::ranges::equal(std::span(leaf).first(state.leaves->leaf_size()),
                          state.leaves->leaf(index))) {
    return coded_error(ErrorKind::DataLoss, code::kSourceChanged,
                       "chunk at offset {}: the source gives other bytes than when it was copied, "
                       "so the copy fits no moment of it",
                       range.offset);
  }
  return state.sink.write(range.offset, chunk);
}

}  // namespace vmferry
