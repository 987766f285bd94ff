#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "common/log.h"
#include "coordinator/kube/object.h"
#include "coordinator/kube/workqueue.h"

namespace vmferry::kube {

// What a pass over one object ended with: nothing (wait for a change) or a time to come back.
struct Outcome {
  std::optional<std::chrono::nanoseconds> requeue_after;
};

ObjectKey key_from_string(const std::string& text);  // "ns/name"

// A few workers that reconcile keys of a queue: never two of one key at once. An error comes back
// after a growing delay, a conflict (Aborted) at once.
class Controller {
 public:
  using Reconcile = std::function<Result<Outcome>(const ObjectKey& key, std::stop_token stop)>;
  Controller(WorkQueue& queue, Reconcile reconcile, int workers, const Logger& log);
  ~Controller();

 private:
  void work(std::stop_token stop);
  void run_one(const std::string& key, std::stop_token stop);

  WorkQueue& queue_;
  Reconcile reconcile_;
  Logger log_;
  std::vector<std::jthread> workers_;
};

}  // namespace vmferry::kube
