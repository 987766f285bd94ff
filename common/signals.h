#pragma once

#include <atomic>
#include <stop_token>
#include <thread>

namespace vmferry {

// Turns SIGINT and SIGTERM into a stop request. Make it first in main, before other threads: they
// inherit the blocked signals. A second SIGINT ends the process at once.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  std::stop_token token() const { return source_.get_token(); }
  // The signal that asked to stop; 0 before.
  int received() const { return received_; }

 private:
  std::stop_source source_;
  std::atomic<int> received_{0};
  std::jthread thread_;
};

// Waits until a stop is requested.
void wait_for_stop(std::stop_token stop);

}  // namespace vmferry
