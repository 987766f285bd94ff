#pragma once

#include <cstdint>
#include <vector>

#include "common/extent.h"
#include "transfer/chunks.h"

namespace vmferry {

// A chunk is read and written in pieces: what extents tell below 64 KiB costs more requests than it
// saves bytes (nbd-and-sinks.md sections 5 and 7), so a chunk's allocation fits 16 bits.
inline constexpr std::uint64_t kPieceBytes = 64u << 10;
inline constexpr unsigned kPiecesPerChunk = 16;
using PieceMask = std::uint16_t;
inline constexpr PieceMask kAllPieces = 0xffff;

enum class ChunkAction : std::uint8_t {
  Copy,     // read the pieces, treat the others as zeros
  Zero,     // make the target zero
  Skip,     // known zero at both ends
  Resumed,  // durable from an earlier attempt
};

// Consecutive chunks with one action and, for Copy and Resumed, the same pieces holding data.
struct ChunkRun {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  ChunkAction action = ChunkAction::Skip;
  PieceMask pieces = 0;

  std::uint64_t end() const { return first + count; }
  friend bool operator==(const ChunkRun&, const ChunkRun&) = default;
};

// The pieces that bytes [from, to) of a chunk touch; from < to <= kChunkBytes.
PieceMask pieces_touched(std::uint64_t from, std::uint64_t to);
// Bytes of the run's pieces on a disk of `size_bytes`: what must be read.
std::uint64_t bytes_to_read(const ChunkRun& run, std::uint64_t size_bytes);
// Bytes of all of the run's chunks.
std::uint64_t bytes_of(const ChunkRun& run, std::uint64_t size_bytes);

struct PlanOptions {
  bool target_is_zero = false;  // unwritten target bytes are known to read as zero
  bool whole_chunks = false;    // a source of long requests: gaps within a chunk are read as well
  const ChunkBitmap* durable = nullptr;  // chunks to leave alone; may be null
};

// Turns extents, fed in disk order, into runs of chunks. Beyond it no extent crosses a chunk and
// every chunk has exactly one decision. Work and memory are proportional to the extents, not to the
// size of the disk.
class Planner {
 public:
  Planner(std::uint64_t size_bytes, const PlanOptions& options);

  // The next extent, adjacent to the last one; what can be decided is appended to `out`.
  void feed(const Extent& extent, std::vector<ChunkRun>& out);
  // The first byte not yet fed; the disk's size when all is planned.
  std::uint64_t position() const { return position_; }

 private:
  void decide(std::uint64_t first, std::uint64_t count, PieceMask data,
              std::vector<ChunkRun>& out) const;

  std::uint64_t size_bytes_;
  PlanOptions options_;
  std::uint64_t position_ = 0;
  PieceMask pending_ = 0;  // data pieces of the chunk that position_ is inside of
};

}  // namespace vmferry
