#include "coordinator/kube/workqueue.h"

#include <algorithm>

namespace vmferry::kube {

void WorkQueue::add_at(const std::string& key, SteadyTime when) {
  const std::lock_guard lock(mutex_);
  const auto [entry, is_new] = due_.try_emplace(key, when);
  if (!is_new) entry->second = std::min(entry->second, when);
  ++version_;
  changed_.notify_all();
}

void WorkQueue::add(const std::string& key) { add_at(key, std::chrono::steady_clock::now()); }

void WorkQueue::add_after(const std::string& key, std::chrono::nanoseconds delay) {
  add_at(key, std::chrono::steady_clock::now() + delay);
}

void WorkQueue::add_failed(const std::string& key) {
  int failures = 0;
  {
    const std::lock_guard lock(mutex_);
    failures = ++failures_[key];
  }
  add_after(key, backoff_.delay(failures, random_unit()));
}

void WorkQueue::forget(const std::string& key) {
  const std::lock_guard lock(mutex_);
  failures_.erase(key);
}

std::optional<std::string> WorkQueue::get(std::stop_token stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    auto earliest = due_.end();
    for (auto entry = due_.begin(); entry != due_.end(); ++entry) {
      if (active_.contains(entry->first)) continue;
      if (earliest == due_.end() || entry->second < earliest->second) earliest = entry;
    }
    if (earliest != due_.end() && earliest->second <= std::chrono::steady_clock::now()) {
      std::string key = earliest->first;
      due_.erase(earliest);
      active_.insert(key);
      return key;
    }
    // Copied, because the entry may be gone while we wait.
    const std::optional<SteadyTime> until =
        earliest == due_.end() ? std::nullopt : std::optional(earliest->second);
    const auto is_changed = [this, seen = version_] { return version_ != seen; };
    if (until) {
      changed_.wait_until(lock, stop, *until, is_changed);
    } else {
      changed_.wait(lock, stop, is_changed);
    }
  }
  return std::nullopt;
}

void WorkQueue::done(const std::string& key) {
  const std::lock_guard lock(mutex_);
  active_.erase(key);
  ++version_;
  changed_.notify_all();
}

std::size_t WorkQueue::size() const {
  const std::lock_guard lock(mutex_);
  return due_.size() + active_.size();
}

}  // namespace vmferry::kube
