#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "common/result.h"

namespace vmferry {

// What has come of a stream that is begun anew whenever it breaks: it lets through what is new, and
// compares what comes again with what was there before by their XXH3-128. A server that tells
// neither ETag nor time of change may have another file by then.
class StreamPrefix {
 public:
  StreamPrefix();
  ~StreamPrefix();
  StreamPrefix(const StreamPrefix&) = delete;
  StreamPrefix& operator=(const StreamPrefix&) = delete;

  // The stream begins (anew): the next bytes are its first.
  void begin();
  // Of the next bytes those that are new, perhaps none. DataLoss with VMF-SRC-CHANGED, before any
  // new byte is let through, when what came again is not what came before.
  Result<std::span<const std::byte>> add(std::span<const std::byte> bytes);

  std::uint64_t received() const { return at_; }  // since begin()
  // What was let through in all.
  std::uint64_t taken() const { return at_ > known_ ? at_ : known_; }

 private:
  struct Hash;
  std::unique_ptr<Hash> seen_;   // of the bytes since begin()
  std::unique_ptr<Hash> first_;  // of the `known_` bytes that came before
  std::uint64_t known_ = 0;
  std::uint64_t at_ = 0;
};

}  // namespace vmferry
