#include "transfer/plan.h"

#include <algorithm>
#include <bit>

#include "common/check.h"

namespace vmferry {
namespace {

void append(ChunkRun run, std::vector<ChunkRun>& out) {
  if (!out.empty()) {
    ChunkRun& last = out.back();
    if (last.end() == run.first && last.action == run.action && last.pieces == run.pieces) {
      last.count += run.count;
      return;
    }
  }
  out.push_back(run);
}

}  // namespace

PieceMask pieces_touched(std::uint64_t from, std::uint64_t to) {
  const std::uint64_t first = from / kPieceBytes;
  const std::uint64_t end = (to + kPieceBytes - 1) / kPieceBytes;
  return static_cast<PieceMask>(((1u << end) - 1u) & ~((1u << first) - 1u));
}

std::uint64_t bytes_to_read(const ChunkRun& run, std::uint64_t size_bytes) {
  const auto per_chunk = static_cast<std::uint64_t>(std::popcount(run.pieces)) * kPieceBytes;
  std::uint64_t bytes = run.count * per_chunk;
  if (run.count == 0 || run.end() * kChunkBytes <= size_bytes) return bytes;
  // The run holds the short last chunk: count its pieces as far as they exist.
  bytes -= per_chunk;
  const ByteRange last = chunk_range(run.end() - 1, size_bytes);
  for (unsigned piece = 0; piece < kPiecesPerChunk; ++piece) {
    const std::uint64_t from = piece * kPieceBytes;
    if ((run.pieces >> piece & 1) == 0 || from >= last.length) continue;
    bytes += std::min(kPieceBytes, last.length - from);
  }
  return bytes;
}

std::uint64_t bytes_of(const ChunkRun& run, std::uint64_t size_bytes) {
  if (run.count == 0) return 0;
  return std::min(run.end() * kChunkBytes, size_bytes) - run.first * kChunkBytes;
}

Planner::Planner(std::uint64_t size_bytes, const PlanOptions& options)
    : size_bytes_(size_bytes), options_(options) {}

void Planner::feed(const Extent& extent, std::vector<ChunkRun>& out) {
  VMFERRY_CHECK(extent.range.offset == position_ && extent.range.end() <= size_bytes_);
  // A hole's content is unknown unless the source says zero: it is read like data.
  const bool data = extent.allocation != Allocation::Zero;
  const std::uint64_t end = extent.range.end();
  while (position_ < end) {
    const std::uint64_t within = position_ % kChunkBytes;
    const std::uint64_t chunk = position_ / kChunkBytes;
    if (within == 0) {
      if (const std::uint64_t whole = (end - position_) / kChunkBytes; whole > 0) {
        decide(chunk, whole, data ? kAllPieces : PieceMask{0}, out);
        position_ += whole * kChunkBytes;
        continue;
      }
    }
    const std::uint64_t to = std::min(end, (chunk + 1) * kChunkBytes);
    if (data) pending_ = pending_ | pieces_touched(within, within + (to - position_));
    position_ = to;
    if (to % kChunkBytes == 0 || to == size_bytes_) {
      decide(chunk, 1, pending_, out);
      pending_ = 0;
    }
  }
}

void Planner::decide(std::uint64_t first, std::uint64_t count, PieceMask data,
                     std::vector<ChunkRun>& out) const {
  ChunkRun run{first, count, ChunkAction::Copy, data};
  if (data == 0) {
    run.action = options_.target_is_zero ? ChunkAction::Skip : ChunkAction::Zero;
  } else if (options_.whole_chunks) {
    run.pieces = kAllPieces;
  }
  if (options_.durable == nullptr) return append(run, out);

  const std::uint64_t end = first + count;
  for (std::uint64_t at = first; at < end;) {
    const bool durable = options_.durable->test(at);
    const std::uint64_t next = options_.durable->find(!durable, at, end);
    append({at, next - at, durable ? ChunkAction::Resumed : run.action, run.pieces}, out);
    at = next;
  }
}

}  // namespace vmferry
