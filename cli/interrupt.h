#pragma once

#include <stop_token>
#include <thread>

#include "common/fd.h"

namespace vmferry::cli {

// SIGINT and SIGTERM as a stop token; a second one ends the process at once, as if nobody caught
// it. One per process. Child programs start with the default handling.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  std::stop_token token() const { return stop_.get_token(); }

 private:
  WakeFd wake_;
  std::stop_source stop_;
  std::jthread thread_;
};

}  // namespace vmferry::cli
