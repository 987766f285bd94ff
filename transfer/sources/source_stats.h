#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "common/guarded.h"
#include "transfer/disk_source.h"

namespace vmferry {

// The counters of one source, bumped by many workers.
class SourceStats {
 public:
  void add_request() { requests_.fetch_add(1, std::memory_order_relaxed); }
  void add_wire_bytes(std::uint64_t bytes) {
    wire_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  }
  void add_retry(std::string why) {
    retries_.fetch_add(1, std::memory_order_relaxed);
    *last_error_.lock() = std::move(why);
  }
  void add_reconnect(std::string why) {
    reconnects_.fetch_add(1, std::memory_order_relaxed);
    *last_error_.lock() = std::move(why);
  }
  void set_via(std::string via) { *via_.lock() = std::move(via); }
  SourceTroubles troubles() const {
    return {.reconnects = reconnects_.load(std::memory_order_relaxed),
            .retries = retries_.load(std::memory_order_relaxed)};
  }
  SourceCounters snapshot() const {
    return {.wire_bytes = wire_bytes_.load(std::memory_order_relaxed),
            .requests = requests_.load(std::memory_order_relaxed),
            .retries = retries_.load(std::memory_order_relaxed),
            .reconnects = reconnects_.load(std::memory_order_relaxed),
            .last_error = *last_error_.lock(),
            .via = *via_.lock()};
  }

 private:
  std::atomic<std::uint64_t> wire_bytes_{0};
  std::atomic<std::uint64_t> requests_{0};
  std::atomic<std::uint64_t> retries_{0};
  std::atomic<std::uint64_t> reconnects_{0};
  Guarded<std::string> last_error_;
  Guarded<std::string> via_;
};

}  // namespace vmferry
