#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <thread>
#include <vector>

#include "common/result.h"
#include "transfer/sources/http_session.h"

namespace vmferry {

// A file of a server that has no ranges, read by one plain GET from its beginning to its end
// (source-vmware.md 6.3). A thread receives into a bounded queue; when the reader is slow the queue
// fills up and TCP makes the server wait. A stream that breaks is asked for again and read over.
class HttpSequence {
 public:
  // `session` and `file` outlive it. Nothing is asked for before the first read.
  HttpSequence(HttpSession& session, const HttpFile& file);

  // Offsets must not fall; what lies between is thrown away. Errors as HttpSession::read, and
  // InvalidArgument for a read backwards.
  Result<void> read(std::uint64_t offset, std::span<std::byte> into, std::stop_token stop);

 private:
  Result<void> start();
  void end(Result<void> received);
  bool put(std::span<const std::byte> bytes, const std::stop_token& stop);
  Result<void> take(std::uint64_t length, std::byte* into, const std::stop_token& stop);

  HttpSession& session_;
  const HttpFile& file_;

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<std::vector<std::byte>> queue_;  // blocks of up to 1 MiB; the last one grows
  std::vector<std::byte> spare_;              // a block's memory, to be used again
  std::size_t queued_bytes_ = 0;
  bool ended_ = false;
  std::optional<Error> failed_;

  std::mutex reading_;  // one read at a time; guards what follows
  std::uint64_t position_ = 0;
  std::vector<std::byte> current_;  // the block being handed out
  std::size_t used_ = 0;            // of it

  std::jthread receiver_;  // last: stops before the rest goes
};

}  // namespace vmferry
