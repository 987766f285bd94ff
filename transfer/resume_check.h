#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "transfer/digest.h"
#include "transfer/disk_sink.h"
#include "transfer/journal.h"

namespace vmferry {

// At most 32 of the chunks that it is shown in turn, spread evenly over those with data.
class ChunkSamples {
 public:
  // Internal when the crypto library fails.
  static Result<ChunkSamples> make(HashAlgorithm hash);
  void add(std::uint64_t index, std::span<const std::byte> digest);
  const std::vector<DurableChunk>& chunks() const { return chunks_; }

 private:
  LeafDigest zero_;  // zeros are everywhere alike
  std::uint64_t seen_ = 0;
  std::uint64_t step_ = 1;  // one of so many is kept
  std::vector<DurableChunk> chunks_;
};

// Whether a target of `size_bytes` still holds what a journal says is durable on it: `samples` are
// read back. A file has a mark that changes with its content's origin; a block device has none, and
// often no name that another device could not have. Another disk differs nearly everywhere, so one
// chunk that rotted does not count: verification finds and repairs that.
// Internal when the crypto library fails, ResourceExhausted without memory.
Result<bool> holds_what_is_recorded(DiskSink& sink, const std::vector<DurableChunk>& samples,
                                    HashAlgorithm hash, std::uint64_t size_bytes);

}  // namespace vmferry
