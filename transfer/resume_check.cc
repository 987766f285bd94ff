#include "transfer/resume_check.h"

#include <algorithm>

#include "transfer/aligned_buffer.h"
#include "transfer/chunks.h"

namespace vmferry {
namespace {

constexpr std::size_t kMostSamples = 32;

}  // namespace

Result<ChunkSamples> ChunkSamples::make(HashAlgorithm hash) {
  LeafHasher hasher = TRY(LeafHasher::make(hash));
  ChunkSamples samples;
  samples.zero_.resize(leaf_bytes(hash));
  TRY(hasher.hash(std::vector<std::byte>(kChunkBytes), samples.zero_));
  return samples;
}

void ChunkSamples::add(std::uint64_t index, std::span<const std::byte> digest) {
  Spread& spread = std::ranges::equal(digest, zero_) ? zeros_ : data_;
  if (spread.seen++ % spread.step != 0) return;
  std::vector<DurableChunk>& kept = spread.kept;
  if (kept.size() == kMostSamples) {  // every second one leaves
    for (std::size_t i = 1; 2 * i < kept.size(); ++i) kept[i] = std::move(kept[2 * i]);
    kept.resize(kMostSamples / 2);
    spread.step *= 2;
    if ((spread.seen - 1) % spread.step != 0) return;
  }
  kept.push_back({index, {digest.begin(), digest.end()}});
}

std::vector<DurableChunk> ChunkSamples::chunks() const {
  std::vector<DurableChunk> all = data_.kept;
  all.insert(all.end(), zeros_.kept.begin(), zeros_.kept.end());
  return all;
}

Result<bool> holds_what_is_recorded(DiskSink& sink, const std::vector<DurableChunk>& samples,
                                    HashAlgorithm hash, std::uint64_t size_bytes,
                                    std::size_t tolerated, std::stop_token stop) {
  const AlignedBuffer buffer(kChunkBytes);
  if (!buffer) return Error(ErrorKind::Unavailable, "no memory for reading the target back");
  LeafHasher hasher = TRY(LeafHasher::make(hash));
  LeafDigest leaf(leaf_bytes(hash));
  std::size_t different = 0;
  for (const DurableChunk& chunk : samples) {
    if (stop.stop_requested()) {
      return Error(ErrorKind::Canceled, "stopped while the target was read back");
    }
    const ByteRange range = chunk_range(chunk.index, size_bytes);
    const std::span<std::byte> bytes = buffer.span().first(range.length);
    const bool read = sink.read_back(range.offset, bytes).ok();
    if (read) TRY(hasher.hash(bytes, leaf));
    if (!read || leaf != chunk.digest) ++different;
    if (different > tolerated) return false;
  }
  return true;
}

}  // namespace vmferry
