#pragma once

#include <mutex>
#include <utility>

namespace vmferry {

// A value that cannot be reached without its lock: jobs_.lock()->erase(id).
template <typename T>
class Guarded {
 public:
  class Locked {
   public:
    Locked(std::mutex& mutex, T& value) : lock_(mutex), value_(&value) {}
    T* operator->() { return value_; }
    T& operator*() { return *value_; }

   private:
    std::unique_lock<std::mutex> lock_;
    T* value_;
  };

  Guarded() = default;
  explicit Guarded(T value) : value_(std::move(value)) {}

  Locked lock() { return Locked(mutex_, value_); }
  Locked lock() const { return Locked(mutex_, const_cast<T&>(value_)); }

 private:
  mutable std::mutex mutex_;
  T value_{};
};

}  // namespace vmferry
