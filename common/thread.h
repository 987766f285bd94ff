#pragma once

#include <stop_token>
#include <thread>
#include <utility>

#include "common/result.h"

namespace vmferry {

// A thread that ends what it works for, never the process: what `body(stop_token)` throws is given
// to `failed(Error)`, on that thread. Both errors are those of caught_error(): Unavailable when the
// system has no further thread or memory to give.
template <typename Body, typename Failed>
Result<std::jthread> start_thread(Body body, Failed failed) {
  try {
    return std::jthread(
        [body = std::move(body), failed = std::move(failed)](std::stop_token stop) mutable {
          try {
            body(std::move(stop));
          } catch (...) {
            failed(caught_error("a thread broke off"));
          }
        });
  } catch (...) {
    return caught_error("cannot start a thread");
  }
}

}  // namespace vmferry
