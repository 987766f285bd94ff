#pragma once

#include <exception>
#include <stop_token>
#include <system_error>
#include <thread>
#include <utility>

#include "common/result.h"

namespace vmferry {

// A thread that ends what it works for, never the process: what `body(stop_token)` throws is given
// to `failed(Error)`, on that thread. Unavailable when the system has no further thread to give.
template <typename Body, typename Failed>
Result<std::jthread> start_thread(Body body, Failed failed) {
  try {
    return std::jthread(
        [body = std::move(body), failed = std::move(failed)](std::stop_token stop) mutable {
          try {
            body(std::move(stop));
          } catch (const std::exception& error) {
            failed(make_error(ErrorKind::Internal, "unexpected: {}", error.what()));
          }
        });
  } catch (const std::system_error& error) {
    return make_error(ErrorKind::Unavailable, "cannot start a thread: {}", error.what());
  }
}

}  // namespace vmferry
