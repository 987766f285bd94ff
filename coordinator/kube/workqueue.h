#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <utility>

#include "common/backoff.h"
#include "common/clock.h"

namespace vmferry::kube {

// Keys that want work. A key is handed out to one worker at a time and at most once however often
// it was added meanwhile; added during its work it comes again afterwards. Every call costs O(log
// n). Thread-safe.
class WorkQueue {
 public:
  explicit WorkQueue(Backoff backoff) : backoff_(backoff) {}

  void add(const std::string& key);
  // The earliest of several delays counts.
  void add_after(const std::string& key, std::chrono::nanoseconds delay);
  // After a delay that grows with every call until forget().
  void add_failed(const std::string& key);
  void forget(const std::string& key);

  // The next key; nothing when stopped. Every get() is followed by done().
  std::optional<std::string> get(std::stop_token stop);
  void done(const std::string& key);

  std::size_t size() const;

 private:
  void add_at(const std::string& key, SteadyTime when);

  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  std::map<std::string, SteadyTime> due_;               // when each waiting key may be handed out
  std::set<std::pair<SteadyTime, std::string>> order_;  // of them, those that nobody works on
  std::set<std::string> active_;
  std::map<std::string, int> failures_;
  std::uint64_t version_ = 0;  // counts changes, for waiters
  Backoff backoff_;
};

}  // namespace vmferry::kube
