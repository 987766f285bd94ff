#include "transfer/sources/read_pace.h"

#include <algorithm>
#include <utility>

namespace vmferry {
namespace {

constexpr std::uint32_t kUsual = 1u << 20;  // what is asked of a peer that takes more
constexpr int kMany = 1 << 16;

}  // namespace

ReadPace::ReadPace(std::uint32_t request_bytes, int most_in_flight, std::chrono::milliseconds pause)
    : pause_(pause),
      request_bytes_(request_bytes),
      most_(most_in_flight > 0 ? most_in_flight : kMany) {}

std::uint32_t ReadPace::request_bytes() const {
  const std::lock_guard lock(mutex_);
  return request_bytes_;
}

int ReadPace::most_in_flight() const {
  const std::lock_guard lock(mutex_);
  return most_;
}

void ReadPace::refuse_above(std::uint32_t bytes) {
  const std::lock_guard lock(mutex_);
  request_bytes_ = std::min(request_bytes_, bytes);
}

bool ReadPace::shrink(std::uint32_t bytes, std::uint64_t generation) {
  const std::lock_guard lock(mutex_);
  if (generation != generation_) return false;
  ++generation_;
  const std::uint32_t tried = std::min({request_bytes_, bytes, kUsual});
  request_bytes_ = std::min(request_bytes_, std::max(kSmallest, tried / 2));
  most_ = std::max(1, std::min(most_, peak_) / 2);
  peak_ = 0;
  resume_at_ = std::chrono::steady_clock::now() + pause_;
  return true;
}

ReadPace::Turn ReadPace::take(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    if (in_flight_ >= most_) {
      changed_.wait(lock, stop, [&] { return in_flight_ < most_; });
    } else if (std::chrono::steady_clock::now() < resume_at_) {
      const auto until = resume_at_;
      changed_.wait_until(lock, stop, until, [] { return false; });
    } else {
      ++in_flight_;
      peak_ = std::max(peak_, in_flight_);
      return {this, generation_};
    }
  }
  return {nullptr, 0};
}

ReadPace::Turn::Turn(Turn&& other) noexcept
    : pace_(std::exchange(other.pace_, nullptr)), generation_(other.generation_) {}

ReadPace::Turn::~Turn() {
  if (pace_ == nullptr) return;
  const std::lock_guard lock(pace_->mutex_);
  --pace_->in_flight_;
  pace_->changed_.notify_one();
}

}  // namespace vmferry
