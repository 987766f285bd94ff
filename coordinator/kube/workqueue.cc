#include "coordinator/kube/workqueue.h"

namespace vmferry::kube {

void WorkQueue::add_at(const std::string& key, SteadyTime when) {
  const std::lock_guard lock(mutex_);
  const auto [entry, is_new] = due_.try_emplace(key, when);
  if (!is_new && entry->second <= when) return;
  if (!active_.contains(key)) {
    if (!is_new) order_.erase({entry->second, key});
    order_.emplace(when, key);
  }
  entry->second = when;
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
    const auto earliest = order_.begin();
    if (earliest != order_.end() && earliest->first <= std::chrono::steady_clock::now()) {
      std::string key = earliest->second;
      order_.erase(earliest);
      due_.erase(key);
      active_.insert(key);
      return key;
    }
    // Copied, because the entry may be gone while we wait.
    const std::optional<SteadyTime> until =
        earliest == order_.end() ? std::nullopt : std::optional(earliest->first);
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
  // Added during its work.
  if (const auto again = due_.find(key); again != due_.end()) order_.emplace(again->second, key);
  ++version_;
  changed_.notify_all();
}

std::size_t WorkQueue::size() const {
  const std::lock_guard lock(mutex_);
  return due_.size() + active_.size();
}

}  // namespace vmferry::kube
