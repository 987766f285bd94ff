#include "transfer/throttle.h"

#include <algorithm>
#include <chrono>

namespace vmferry {

void TokenBucket::refill(SteadyTime now) {
  if (now <= updated) return;
  const double seconds = Seconds(now - updated).count();
  updated = now;
  tokens = std::min(tokens + rate * seconds, rate * burst_seconds);
}

std::chrono::nanoseconds TokenBucket::take(std::uint64_t bytes, SteadyTime now) {
  refill(now);
  if (rate <= 0) return std::chrono::nanoseconds(0);
  tokens -= static_cast<double>(bytes);
  if (tokens >= 0) return std::chrono::nanoseconds(0);
  constexpr double kLongest = 1e9;  // seconds: keeps the conversion defined for tiny rates
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
      Seconds(std::min(-tokens / rate, kLongest)));
}

void TokenBucket::set_rate(double bytes_per_second, SteadyTime now) {
  refill(now);
  // From unlimited: no debt and no credit. A debt made at another rate is paid at the new one.
  if (rate <= 0 || bytes_per_second <= 0) tokens = 0;
  rate = bytes_per_second;
  updated = now;
  tokens = std::min(tokens, rate * burst_seconds);
}

namespace {

// 0 is none.
std::uint64_t lower_limit(std::uint64_t one, std::uint64_t other) {
  if (one == 0 || other == 0) return std::max(one, other);
  return std::min(one, other);
}

}  // namespace

Throttle::Throttle(const Clock& clock, std::uint64_t bytes_per_second, Throttle* parent)
    : clock_(clock), parent_(parent) {
  bucket_.updated = clock_.steady();
  bucket_.rate = static_cast<double>(bytes_per_second);
  if (parent_ != nullptr) ++parent_->children_;
}

Throttle::~Throttle() {
  if (parent_ != nullptr) --parent_->children_;
}

void Throttle::set_rate(std::uint64_t bytes_per_second) {
  {
    const std::lock_guard lock(mutex_);
    bucket_.set_rate(static_cast<double>(bytes_per_second), clock_.steady());
  }
  changed_.notify_all();
}

std::uint64_t Throttle::rate() const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::uint64_t>(bucket_.rate);
}

// The next ticket's turn, past those whose owners have given up. Needs the lock.
void Throttle::serve_next() {
  ++serving_;
  while (abandoned_.erase(serving_) != 0) ++serving_;
}

std::uint64_t Throttle::limit() const {
  return lower_limit(rate(), parent_ == nullptr ? 0 : parent_->limit());
}

std::uint64_t Throttle::share() const {
  const std::uint64_t above = parent_ == nullptr ? 0 : parent_->share();
  if (above == 0) return rate();
  return lower_limit(rate(), std::max<std::uint64_t>(1, above / parent_->children_));
}

Result<void> Throttle::acquire(std::uint64_t bytes, std::stop_token stop) {
  // In small pieces, so that a disk with large requests gets no larger share than one with small.
  constexpr std::uint64_t kPiece = 1u << 20;
  while (bytes > 0) {
    const std::uint64_t piece = std::min(bytes, kPiece);
    TRY(acquire_piece(piece, stop));
    bytes -= piece;
  }
  return {};
}

Result<void> Throttle::acquire_piece(std::uint64_t bytes, const std::stop_token& stop) {
  if (parent_ == nullptr) return acquire_here(bytes, stop);
  if (limit() == 0) return {};
  // One of a disk's workers at a time queues at the parent: shares are by disk, not by worker. The
  // others wait here without a stop token, which is safe: the one inside stops with them.
  const std::lock_guard turn(turn_);
  TRY(acquire_here(bytes, stop));
  return parent_->acquire_piece(bytes, stop);
}

Result<void> Throttle::acquire_here(std::uint64_t bytes, const std::stop_token& stop) {
  // Short enough that a new rate, or a stop, takes effect at once for a person.
  constexpr std::chrono::nanoseconds kSlice = std::chrono::milliseconds(100);
  std::unique_lock lock(mutex_);
  if (bucket_.rate <= 0 && next_ticket_ == serving_) return {};  // unlimited, nobody waits
  const std::uint64_t ticket = next_ticket_++;
  if (!changed_.wait(lock, stop, [&] { return serving_ == ticket; })) {
    abandoned_.insert(ticket);
    return Error(ErrorKind::Canceled, "stopped while waiting for bandwidth");
  }
  std::chrono::nanoseconds wait = bucket_.take(bytes, clock_.steady());
  bool stopped = stop.stop_requested();
  while (wait.count() > 0 && !stopped) {
    lock.unlock();
    stopped = !clock_.sleep(std::min(wait, kSlice), stop);
    lock.lock();
    wait = bucket_.take(0, clock_.steady());  // at the rate of now
  }
  if (stopped && bucket_.rate > 0) bucket_.tokens += static_cast<double>(bytes);  // not used
  serve_next();
  lock.unlock();
  changed_.notify_all();
  if (stopped) return Error(ErrorKind::Canceled, "stopped while waiting for bandwidth");
  return {};
}

}  // namespace vmferry
