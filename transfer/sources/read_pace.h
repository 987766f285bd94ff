#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <stop_token>

namespace vmferry {

// How much a peer is asked for at once: the size of a request and the number of requests in flight.
// Both fall step by step when it has no memory for them, down to 256 KiB and one, and each time
// nothing is asked for a while (source-vmware.md 8.4). Thread-safe.
class ReadPace {
 public:
  static constexpr std::uint32_t kSmallest = 256u << 10;

  // `most_in_flight` 0: as many as ask.
  ReadPace(std::uint32_t request_bytes, int most_in_flight, std::chrono::milliseconds pause);

  // The largest request that the peer takes, as far as is known.
  std::uint32_t request_bytes() const;
  int most_in_flight() const;
  // The peer refuses requests of that size for their size alone.
  void refuse_above(std::uint32_t bytes);
  // It had no memory for a request of `bytes`, made when `generation` was current. True when that
  // was news, and less is asked for from now on; of many that fail at once one tells it.
  bool shrink(std::uint32_t bytes, std::uint64_t generation);

  // The right to have one request in flight.
  class Turn {
   public:
    Turn(Turn&& other) noexcept;
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    Turn& operator=(Turn&&) = delete;
    ~Turn();
    explicit operator bool() const { return pace_ != nullptr; }
    std::uint64_t generation() const { return generation_; }

   private:
    friend class ReadPace;
    Turn(ReadPace* pace, std::uint64_t generation) : pace_(pace), generation_(generation) {}
    ReadPace* pace_;
    std::uint64_t generation_;
  };
  // Waits for it; false when stopped.
  Turn take(const std::stop_token& stop);

 private:
  const std::chrono::milliseconds pause_;
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable_any changed_;
  std::uint32_t request_bytes_;
  int most_;
  int in_flight_ = 0;
  int peak_ = 0;  // of in_flight_, since the last shrinking
  std::uint64_t generation_ = 0;
  std::chrono::steady_clock::time_point resume_at_{};
};

}  // namespace vmferry
