#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>

#include "common/endpoint.h"
#include "common/protocol.h"
#include "common/result.h"

namespace vmferry {

// A source's question for fresh credentials on its way to the coordinator and back: the source's
// thread waits in ask(), the control loop reads pending() and brings the answer.
class Renewal {
 public:
  struct Question {
    std::uint64_t sequence = 0;
    protocol::WireError why;
  };

  // `wake` tells the control loop that there is a question; called on the asking thread.
  explicit Renewal(std::function<void()> wake) : wake_(std::move(wake)) {}

  // Waits for the answer. DeadlineExceeded after `patience`, Canceled, or the coordinator's error.
  Result<DiskEndpoint> ask(const Error& why, std::chrono::milliseconds patience,
                           std::stop_token stop);
  // The question that waits for an answer now.
  std::optional<Question> pending() const;
  // An answer to another question than the pending one is ignored: it came twice.
  void answer(const protocol::Renewed& renewed);

 private:
  std::function<void()> wake_;
  mutable std::mutex mutex_;
  std::condition_variable_any answered_;
  std::uint64_t last_sequence_ = 0;
  std::optional<Question> question_;
  std::optional<protocol::Renewed> answer_;
};

}  // namespace vmferry
