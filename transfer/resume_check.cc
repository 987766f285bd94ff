#include "transfer/resume_check.h"

#include <algorithm>

#include "transfer/aligned_buffer.h"
#include "transfer/chunks.h"

namespace vmferry {
namespace {

constexpr std::uint64_t kSamples = 16;

}  // namespace

Result<bool> holds_what_is_recorded(DiskSink& sink, const std::vector<DurableChunk>& chunks,
                                    HashAlgorithm hash, std::uint64_t size_bytes) {
  const AlignedBuffer buffer(kChunkBytes);
  if (!buffer) return Error(ErrorKind::ResourceExhausted, "no memory for reading the target back");
  LeafHasher hasher = TRY(LeafHasher::make(hash));
  LeafDigest leaf(leaf_bytes(hash));
  const auto leaf_of = [&](std::span<const std::byte> bytes) -> Result<void> {
    return hasher.hash(bytes, leaf);
  };
  // Zeros are everywhere alike.
  std::ranges::fill(buffer.span(), std::byte{0});
  TRY(leaf_of(buffer.span()));
  const LeafDigest zero = leaf;
  const auto has_data = [&](const DurableChunk& chunk) { return chunk.digest != zero; };
  const auto count = static_cast<std::uint64_t>(std::ranges::count_if(chunks, has_data));
  const std::uint64_t samples = std::min(count, kSamples);
  std::uint64_t seen = 0, taken = 0, different = 0;
  for (const DurableChunk& chunk : chunks) {
    if (taken == samples) break;
    if (!has_data(chunk) || seen++ != taken * count / samples) continue;
    ++taken;
    const ByteRange range = chunk_range(chunk.index, size_bytes);
    const std::span<std::byte> bytes = buffer.span().first(range.length);
    const bool read = sink.read_back(range.offset, bytes).ok();
    if (read) TRY(leaf_of(bytes));
    if (!read || leaf != chunk.digest) ++different;
  }
  return 2 * different <= samples;
}

}  // namespace vmferry
