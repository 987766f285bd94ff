#include "transfer/sources/nbd_connection.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>

namespace vmferry {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kGoodbye{200};

Allocation allocation_of(std::uint32_t flags) {
  if ((flags & LIBNBD_STATE_ZERO) != 0) return Allocation::Zero;
  if ((flags & LIBNBD_STATE_HOLE) != 0) return Allocation::Hole;
  return Allocation::Data;
}

short poll_events(unsigned direction) {
  short events = 0;
  if ((direction & LIBNBD_AIO_DIRECTION_READ) != 0) events |= POLLIN;
  if ((direction & LIBNBD_AIO_DIRECTION_WRITE) != 0) events |= POLLOUT;
  return events;
}

// What a server has sent of one read: chunks in any order, mostly one. libnbd takes a read for
// complete when the server says so, whatever came before.
class ReadParts {
 public:
  void add(std::uint64_t offset, std::uint64_t length) {
    if (rest_.empty() && offset == end_) {
      end_ += length;
    } else if (rest_.size() < kMost) {
      rest_.push_back({offset, length});
    }
  }
  void begin_at(std::uint64_t offset) { end_ = offset; }
  bool reach(std::uint64_t end) {
    std::ranges::sort(rest_, {}, &ByteRange::offset);
    for (const ByteRange& part : rest_) {
      if (part.offset > end_) return false;
      end_ = std::max(end_, part.end());
    }
    return end_ >= end;
  }

 private:
  static constexpr std::size_t kMost = 65536;  // a request has a few MiB

  std::uint64_t end_ = 0;  // everything before it is there
  std::vector<ByteRange> rest_;
};

}  // namespace

// Lives on its caller's stack: libnbd forgets it when it is completed, and after give_up() nobody
// runs the handle any more (nbd_close calls no completion).
struct NbdConnection::Request {
  NbdConnection* owner = nullptr;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::byte* buffer = nullptr;             // a read, or
  std::vector<Extent>* extents = nullptr;  // a question for extents
  ReadParts parts{};                       // of a read
  bool done = false;
  bool is_incomplete = false;
  int error_number = 0;
  std::condition_variable_any changed;
};

Result<std::shared_ptr<NbdConnection>> NbdConnection::make(NbdHandle handle,
                                                           milliseconds watchdog) {
  WakeFd wake = TRY(WakeFd::make());
  return std::shared_ptr<NbdConnection>(
      new NbdConnection(std::move(handle), std::move(wake), watchdog));
}

NbdConnection::NbdConnection(NbdHandle handle, WakeFd wake, milliseconds watchdog)
    : handle_(std::move(handle)),
      fd_(nbd_aio_get_fd(handle_.get())),
      watchdog_(watchdog),
      wake_(std::move(wake)),
      last_answer_(steady_clock::now()) {}

NbdConnection::~NbdConnection() {
  // A polite goodbye, never waited for long; the server copes with a closed socket as well.
  if (lost_ || nbd_aio_disconnect(handle_.get(), 0) == -1) return;
  const auto deadline = steady_clock::now() + kGoodbye;
  while (nbd_aio_is_closed(handle_.get()) == 0 && nbd_aio_is_dead(handle_.get()) == 0) {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - steady_clock::now());
    if (left <= milliseconds(0)) return;
    const unsigned direction = nbd_aio_get_direction(handle_.get());
    pollfd fd{fd_, poll_events(direction), 0};
    if (::poll(&fd, 1, static_cast<int>(left.count())) <= 0) return;
    const bool readable = (direction & LIBNBD_AIO_DIRECTION_READ) != 0 && fd.revents != POLLOUT;
    if ((readable ? nbd_aio_notify_read(handle_.get()) : nbd_aio_notify_write(handle_.get())) ==
        -1) {
      return;
    }
  }
}

NbdOutcome NbdConnection::pread(std::uint64_t offset, std::span<std::byte> into,
                                std::stop_token stop) {
  Request request;
  request.owner = this;
  request.offset = offset;
  request.length = into.size();
  request.buffer = into.data();
  request.parts.begin_at(offset);
  return run(request, stop);
}

NbdOutcome NbdConnection::block_status(ByteRange range, std::vector<Extent>& extents,
                                       std::stop_token stop) {
  Request request;
  request.owner = this;
  request.offset = range.offset;
  request.length = range.length;
  request.extents = &extents;
  return run(request, stop);
}

bool NbdConnection::alive() const {
  const std::lock_guard lock(mutex_);
  return !lost_;
}

bool NbdConnection::went_silent() const {
  const std::lock_guard lock(mutex_);
  return silent_;
}

int NbdConnection::in_flight() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(waiting_.size());
}

void NbdConnection::abandon(const std::string& why) {
  const std::lock_guard lock(mutex_);
  give_up(NbdOutcome::Kind::Lost, why);
}

NbdOutcome NbdConnection::run(Request& request, const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  if (lost_) return *lost_;
  if (waiting_.empty()) last_answer_ = steady_clock::now();
  waiting_.push_back(&request);
  if (role_ == Role::Receiving) {
    queued_.push_back(&request);
  } else {
    submit(request);
    deliver_completed();
    // The poll of the leader knows nothing of a send that did not fit the socket's buffer.
    if (role_ == Role::Polling &&
        nbd_aio_get_direction(handle_.get()) != LIBNBD_AIO_DIRECTION_READ) {
      wake_.signal();
    }
  }
  while (!request.done && !lost_) {
    if (stop.stop_requested()) {
      // The buffer is libnbd's until the answer came: without the connection it never will.
      give_up(NbdOutcome::Kind::Canceled, "reading was canceled");
    } else if (!led_) {
      lead(request, lock, stop);
    } else {
      request.changed.wait(lock, stop, [&] { return request.done || lost_ || !led_; });
    }
  }
  settled_.wait(lock, [&] { return !lost_ || role_ != Role::Receiving; });
  if (request.done && request.error_number == 0) return {};
  if (!request.done || lost_) {
    std::erase(waiting_, &request);
    return *lost_;
  }
  return {NbdOutcome::Kind::Refused, request.error_number,
          request.is_incomplete ? "the server left a part out of its answer"
                                : std::strerror(request.error_number)};
}

void NbdConnection::submit(Request& request) {
  const nbd_completion_callback completion{&NbdConnection::on_completion, &request, nullptr};
  const std::int64_t cookie =
      request.buffer != nullptr
          ? nbd_aio_pread_structured(handle_.get(), request.buffer, request.length, request.offset,
                                     {&NbdConnection::on_chunk, &request, nullptr}, completion, 0)
          : nbd_aio_block_status(handle_.get(), request.length, request.offset,
                                 {&NbdConnection::on_extents, &request, nullptr}, completion, 0);
  if (cookie != -1 && completed_.empty()) return;  // sent, or waiting for room in the socket
  if (nbd_aio_is_dead(handle_.get()) != 0 || nbd_aio_is_closed(handle_.get()) != 0) {
    completed_.clear();
    give_up(NbdOutcome::Kind::Lost, cookie == -1 ? nbd_error_text() : "cannot send to the server");
    return;
  }
  if (cookie != -1) return;
  request.error_number = nbd_get_errno() != 0 ? nbd_get_errno() : EINVAL;
  completed_.push_back(&request);
}

void NbdConnection::submit_queued() {
  for (Request* request : queued_) {
    if (lost_) break;
    submit(*request);
  }
  queued_.clear();
}

void NbdConnection::deliver_completed() {
  if (completed_.empty()) return;
  last_answer_ = steady_clock::now();
  for (Request* request : completed_) {
    request->done = true;
    std::erase(waiting_, request);
    request->changed.notify_one();
  }
  completed_.clear();
}

void NbdConnection::lead(Request& mine, std::unique_lock<std::mutex>& lock,
                         const std::stop_token& stop) {
  led_ = true;
  const std::stop_callback on_stop(stop, [this] { wake_.signal(); });
  while (!mine.done && !lost_ && !stop.stop_requested()) {
    submit_queued();
    deliver_completed();
    if (!mine.done && !lost_) step(lock);
  }
  // Requests queued while the last answer came in must not wait for the next leader to wake up.
  if (!lost_) submit_queued();
  deliver_completed();
  led_ = false;
  if (!lost_ && !waiting_.empty()) waiting_.front()->changed.notify_one();
}

// Waits for the socket once and moves libnbd on.
void NbdConnection::step(std::unique_lock<std::mutex>& lock) {
  pollfd fds[] = {{fd_, poll_events(nbd_aio_get_direction(handle_.get())), 0},
                  {wake_.get(), POLLIN, 0}};
  const int timeout_ms = poll_timeout_ms();
  role_ = Role::Polling;
  lock.unlock();
  const int ready = ::poll(fds, 2, timeout_ms);
  lock.lock();
  role_ = Role::None;
  if (lost_) return;
  if (ready == 0 && poll_timeout_ms() == 0) {
    silent_ = true;
    give_up(NbdOutcome::Kind::Lost, "no answer for " + std::to_string(watchdog_.count()) + " ms");
    return;
  }
  if (fds[1].revents != 0) wake_.clear();
  // Others may have sent requests meanwhile, which changes what libnbd waits for.
  const unsigned direction = nbd_aio_get_direction(handle_.get());
  const bool read = (direction & LIBNBD_AIO_DIRECTION_READ) != 0 &&
                    (fds[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0;
  const bool write = (direction & LIBNBD_AIO_DIRECTION_WRITE) != 0 &&
                     (fds[0].revents & (POLLOUT | POLLHUP | POLLERR)) != 0;
  if (ready <= 0 || (!read && !write)) return;

  role_ = Role::Receiving;
  lock.unlock();
  const int moved = read ? nbd_aio_notify_read(handle_.get()) : nbd_aio_notify_write(handle_.get());
  std::string why = moved == -1 ? nbd_error_text() : "the server closed the connection";
  const bool gone = nbd_aio_is_dead(handle_.get()) != 0 || nbd_aio_is_closed(handle_.get()) != 0;
  lock.lock();
  role_ = Role::None;
  if (lost_) {
    settled_.notify_all();
  } else if (gone) {
    completed_.clear();  // libnbd failed them all; give_up() says why
    give_up(NbdOutcome::Kind::Lost, std::move(why));
  } else {
    deliver_completed();
  }
}

void NbdConnection::give_up(NbdOutcome::Kind kind, std::string why) {
  if (lost_) return;
  lost_ = NbdOutcome{kind, 0, std::move(why)};
  // Others find a connection that one caller canceled as lost: they have not been stopped.
  for (Request* request : waiting_) request->changed.notify_one();
  wake_.signal();
}

int NbdConnection::poll_timeout_ms() const {
  const auto left = watchdog_ - (steady_clock::now() - last_answer_);
  return static_cast<int>(
      std::clamp<std::int64_t>(std::chrono::ceil<milliseconds>(left).count(), 0, 600'000));
}

int NbdConnection::on_completion(void* request, int* error) {
  auto* mine = static_cast<Request*>(request);
  if (mine->error_number == 0) mine->error_number = *error;
  if (mine->error_number == 0 && mine->buffer != nullptr &&
      !mine->parts.reach(mine->offset + mine->length)) {
    mine->is_incomplete = true;
    mine->error_number = EIO;
  }
  mine->owner->completed_.push_back(mine);
  return 1;  // libnbd forgets the command
}

// Holes are zeros in the buffer by now.
int NbdConnection::on_chunk(void* request, const void* /*data*/, std::size_t count,
                            std::uint64_t offset, unsigned status, int* /*error*/) {
  if (status == LIBNBD_READ_DATA || status == LIBNBD_READ_HOLE) {
    static_cast<Request*>(request)->parts.add(offset, count);
  }
  return 0;
}

int NbdConnection::on_extents(void* request, const char* context, std::uint64_t offset,
                              std::uint32_t* entries, std::size_t count, int* /*error*/) {
  auto* mine = static_cast<Request*>(request);
  if (std::strcmp(context, LIBNBD_CONTEXT_BASE_ALLOCATION) != 0) return 0;
  for (std::size_t i = 0; i + 1 < count; i += 2) {
    mine->extents->push_back({{offset, entries[i]}, allocation_of(entries[i + 1])});
    offset += entries[i];
  }
  return 0;
}

}  // namespace vmferry
