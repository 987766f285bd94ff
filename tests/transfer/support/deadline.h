#pragma once

#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <string>
#include <thread>

namespace vmferry::testing {

// Ends the test program when the scope is not left in time: a hang is a failure, not a wait.
class Deadline {
 public:
  explicit Deadline(std::chrono::seconds limit, std::string what = "copy")
      : thread_([limit, what = std::move(what)](std::stop_token left) {
          std::mutex mutex;
          std::condition_variable_any never;
          std::unique_lock lock(mutex);
          never.wait_for(lock, left, limit, [] { return false; });
          if (left.stop_requested()) return;
          std::fprintf(stderr, "%s: hangs\n", what.c_str());
          ::_exit(99);
        }) {}

 private:
  std::jthread thread_;
};

}  // namespace vmferry::testing
