#pragma once

#include <mutex>
#include <utility>
#include <vector>

#include "common/fd.h"

namespace vmferry {

// Values from any thread into one poll loop: put() wakes the loop, take_all() empties the box.
template <typename T>
class Mailbox {
 public:
  void put(T value) {
    {
      const std::lock_guard lock(mutex_);
      values_.push_back(std::move(value));
    }
    wake_.signal();
  }
  std::vector<T> take_all() {
    wake_.clear();
    const std::lock_guard lock(mutex_);
    return std::exchange(values_, {});
  }
  int wake_fd() const { return wake_.get(); }

 private:
  std::mutex mutex_;
  std::vector<T> values_;
  WakeFd wake_;
};

}  // namespace vmferry
