#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/result.h"

namespace vmferry {

using LeafDigest = std::vector<std::byte>;  // 16 bytes (xxh3-128) or 32 (sha256)

// What a journal is valid for; any difference means start over, and say which.
struct JournalIdentity {
  std::string job;
  std::uint64_t size_bytes = 0;
  std::string hash;  // "xxh3-128" or "sha256"
  std::vector<std::pair<std::string, std::string>> source;
  std::vector<std::pair<std::string, std::string>> target;
  friend bool operator==(const JournalIdentity&, const JournalIdentity&) = default;
};

// One chunk that is durable on the target, with its digest.
struct DurableChunk {
  std::uint64_t index = 0;
  LeafDigest digest;
  friend bool operator==(const DurableChunk&, const DurableChunk&) = default;
};

// Takes one chunk and its digest, which lives for the call; its error ends the round.
using EachChunk =
    std::function<Result<void>(std::uint64_t index, std::span<const std::byte> digest)>;

// Which chunks are written and flushed. record() is called only after the sink's flush succeeded.
// One checkpoint thread uses it, but for catch_up(), which comes from another one meanwhile. A disk
// has a chunk a MiB, so none of this ever holds all of them as a list.
class Journal {
 public:
  virtual ~Journal() = default;
  // Calls `each` with the chunks that an earlier attempt with the same identity made durable,
  // sorted by index; none: start over. Once, before the first record().
  virtual Result<void> restore(const EachChunk& each) = 0;
  // True when this journal continues an earlier attempt: the target may hold garbage in chunks
  // that are not durable, so nothing about it is known to be zero.
  virtual bool resumed() const = 0;
  // Adds chunks; they survive kill -9 when this returns.
  virtual Result<void> record(const std::vector<DurableChunk>& chunks) = 0;
  // These were durable and have turned out to hold something else: no later attempt believes them.
  virtual Result<void> forget(const std::vector<std::uint64_t>& chunks) = 0;
  // What is recorded may be of two states of the source: no later attempt believes any of it,
  // whoever else remembers it.
  virtual Result<void> invalidate() = 0;
  // The whole disk is copied and verified.
  virtual Result<void> mark_complete() = 0;
  // Called now and then from beginning to end: while there is nothing to record (a target is being
  // verified, a source is silent) whoever asks what is durable is answered all the same.
  virtual void catch_up() {}
};

// An error of the journal's own storage, as copy_disk() and open_target() return it: Unavailable
// with VMF-XFER-JOURNAL-IO, whatever that disk says. It is seldom the target's, and another try, or
// another agent, may do. A journal that is in use or does not fit, a wrong path and a stop stay
// what they are.
Error as_journal_error(Error error);
template <typename T>
Result<T> of_journal(Result<T> result) {
  if (result) return result;
  return as_journal_error(std::move(result).error());
}

// Chunks as a compact byte string for the wire and for storage elsewhere: runs of consecutive
// indices with their digests, checksummed. decode: DataLoss when torn or corrupt, InvalidArgument
// when out of bounds for `chunk_count`.
std::string encode_chunks(const std::vector<DurableChunk>& chunks);
Result<std::vector<DurableChunk>> decode_chunks(std::string_view bytes, std::uint64_t chunk_count);

}  // namespace vmferry
