#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>

namespace vmferry::vmware {

// A stop that comes later than the one it follows, for a request whose answer is worth a little
// waiting even when nobody wants its result any more.
class Patience {
 public:
  Patience(std::stop_token asked, std::chrono::milliseconds grace)
      : follower_([this, asked = std::move(asked), grace] { follow(asked, grace); }) {}
  ~Patience() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    changed_.notify_all();
  }
  Patience(const Patience&) = delete;
  Patience& operator=(const Patience&) = delete;

  std::stop_token token() const { return late_.get_token(); }

 private:
  void follow(const std::stop_token& asked, std::chrono::milliseconds grace) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, asked, [this] { return over_; });
    changed_.wait_for(lock, grace, [this] { return over_; });
    if (!over_) late_.request_stop();
  }

  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool over_ = false;
  std::stop_source late_;
  std::jthread follower_;  // last: ends before the rest goes
};

}  // namespace vmferry::vmware
