#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "common/extent.h"
#include "common/fd.h"
#include "common/result.h"
#include "transfer/sources/nbd_handle.h"

namespace vmferry {

// How one request ended.
struct NbdOutcome {
  enum class Kind {
    Done,
    Refused,   // the server answered with error_number; the connection lives
    Lost,      // the connection is of no use any more
    Canceled,  // our caller was stopped; the connection is of no use any more
  };
  Kind kind = Kind::Done;
  int error_number = 0;
  std::string text;
};

// One NBD connection that many threads use at once: each has a request in flight and waits for its
// answer. There is no thread of its own. Of the waiting callers one leads: it polls the socket and
// completes the others' requests as they come in; when its own is answered it passes the lead to
// the caller that waits longest, whose answer is usually the next. So in the common case a request
// costs one hand-over, and each caller receives its data on its own core.
//
// libnbd's handle is touched under mutex_, or by the leader alone while role_ is Receiving. A
// request made meanwhile is queued for the leader: libnbd's lock is held while it receives, and
// waiting for that lock is not fair.
class NbdConnection {
 public:
  // Unavailable when the process has no descriptor left to wait with.
  static Result<std::shared_ptr<NbdConnection>> make(NbdHandle handle,
                                                     std::chrono::milliseconds watchdog);
  ~NbdConnection();
  NbdConnection(const NbdConnection&) = delete;
  NbdConnection& operator=(const NbdConnection&) = delete;

  // Fills `into`, whose memory is not touched any more when this returns. Refused with EIO also
  // when the server says that it has answered and has left a part out.
  NbdOutcome pread(std::uint64_t offset, std::span<std::byte> into, std::stop_token stop);
  // Appends the server's extents, unclipped, starting at range.offset.
  NbdOutcome block_status(ByteRange range, std::vector<Extent>& extents, std::stop_token stop);

  // Requests in flight end as lost, and so do all later ones.
  void abandon(const std::string& why);
  bool alive() const;
  // It was given up because no answer came.
  bool went_silent() const;
  int in_flight() const;

 private:
  struct Request;
  enum class Role { None, Polling, Receiving };

  NbdConnection(NbdHandle handle, WakeFd wake, std::chrono::milliseconds watchdog);

  NbdOutcome run(Request& request, const std::stop_token& stop);
  void submit(Request& request);
  void submit_queued();
  void deliver_completed();
  void lead(Request& mine, std::unique_lock<std::mutex>& lock, const std::stop_token& stop);
  void step(std::unique_lock<std::mutex>& lock);
  void give_up(NbdOutcome::Kind kind, std::string why);
  int poll_timeout_ms() const;

  static int on_completion(void* request, int* error);
  static int on_chunk(void* request, const void* data, std::size_t count, std::uint64_t offset,
                      unsigned status, int* error);
  static int on_extents(void* request, const char* context, std::uint64_t offset,
                        std::uint32_t* entries, std::size_t count, int* error);

  const NbdHandle handle_;
  const int fd_;
  const std::chrono::milliseconds watchdog_;
  const WakeFd wake_;  // ends the leader's poll

  mutable std::mutex mutex_;
  std::condition_variable settled_;  // the leader left Receiving
  Role role_ = Role::None;
  bool led_ = false;
  std::vector<Request*> waiting_;    // oldest first
  std::vector<Request*> queued_;     // of waiting_: not yet given to libnbd
  std::vector<Request*> completed_;  // filled by callbacks, by whoever owns the handle
  std::chrono::steady_clock::time_point last_answer_;
  std::optional<NbdOutcome> lost_;
  bool silent_ = false;
};

}  // namespace vmferry
