#pragma once

#include <stop_token>
#include <thread>
#include <utility>

#include "common/error.h"
#include "transfer/copy_state.h"

namespace vmferry {

// A thread of one transfer: runs `body(stop_token)`, whose failure, or a library's exception, ends
// the transfer. Joined by its handle. Throws std::system_error when there is no thread to be had.
template <typename Body>
std::jthread start_transfer_thread(CopyState& state, Body body) {
  return std::jthread([&state, body = std::move(body)](std::stop_token stop) mutable {
    try {
      if (Result<void> result = body(std::move(stop)); !result) {
        state.failure.set(std::move(result).error());
      }
    } catch (...) {
      state.failure.set(caught_error("transfer thread"));
    }
  });
}

}  // namespace vmferry
