#pragma once

#include <cstdint>
#include <span>
#include <stop_token>
#include <vector>

#include "transfer/digest.h"
#include "transfer/disk_sink.h"
#include "transfer/journal.h"

namespace vmferry {

// Some of the chunks that it is shown in turn, spread evenly: at most 32 with data and 32 of zeros.
class ChunkSamples {
 public:
  // Internal when the crypto library fails.
  static Result<ChunkSamples> make(HashAlgorithm hash);
  void add(std::uint64_t index, std::span<const std::byte> digest);
  std::vector<DurableChunk> chunks() const;

 private:
  struct Spread {
    std::uint64_t seen = 0;
    std::uint64_t step = 1;  // one of so many is kept
    std::vector<DurableChunk> kept;
  };
  LeafDigest zero_;  // zeros are everywhere alike: data tells more
  Spread data_, zeros_;
};

// Whether a target of `size_bytes` still holds what a journal says is durable on it: all `samples`,
// read back. A block device has no mark that another device could not have, and a file keeps its
// own when something else writes over it. Two disks of one template are equal in many places, so
// at most `tolerated` may differ: none, or one that rotted where all is read back later.
// Internal when the crypto library fails, Unavailable without memory, Canceled.
Result<bool> holds_what_is_recorded(DiskSink& sink, const std::vector<DurableChunk>& samples,
                                    HashAlgorithm hash, std::uint64_t size_bytes,
                                    std::size_t tolerated, std::stop_token stop);

}  // namespace vmferry
