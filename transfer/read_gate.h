#pragma once

#include <condition_variable>
#include <mutex>
#include <stop_token>

namespace vmferry {

// Lets at most `width` of a disk's workers read at the same time. Where reading is this machine's
// own work (a server on the same host), readers that share the cores all end together, then all
// write together, and cores and device wait for each other in turns; with half of the workers
// kept writing both stay busy (benchmarks/README.md).
class ReadGate {
 public:
  explicit ReadGate(int width) : free_(width) {}

  // Waits for room. False when stopped: then there is nothing to leave.
  bool enter(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    // Asked first: a wait that can be stopped registers itself with the stop token's other users.
    if (free_ == 0 && !changed_.wait(lock, stop, [&] { return free_ != 0; })) return false;
    --free_;
    return true;
  }
  void leave() {
    {
      const std::lock_guard lock(mutex_);
      ++free_;
    }
    changed_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  int free_;
};

// Inside the gate for the length of a scope.
class GatePass {
 public:
  GatePass(ReadGate& gate, const std::stop_token& stop) : gate_(gate), inside_(gate.enter(stop)) {}
  ~GatePass() {
    if (inside_) gate_.leave();
  }
  GatePass(const GatePass&) = delete;
  GatePass& operator=(const GatePass&) = delete;
  explicit operator bool() const { return inside_; }

 private:
  ReadGate& gate_;
  const bool inside_;
};

}  // namespace vmferry
