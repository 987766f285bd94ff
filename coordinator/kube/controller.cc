#include "coordinator/kube/controller.h"

#include <exception>

namespace vmferry::kube {
namespace {

// Soon, but no hot loop where the conflict lasts: a claim that is still being removed, say.
constexpr std::chrono::milliseconds kAfterConflict{100};

}  // namespace

ObjectKey key_from_string(const std::string& text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string::npos) return {.ns = "", .name = text};
  return {.ns = text.substr(0, slash), .name = text.substr(slash + 1)};
}

Controller::Controller(WorkQueue& queue, Reconcile reconcile, int workers, const Logger& log)
    : queue_(queue), reconcile_(std::move(reconcile)), log_(log) {
  for (int i = 0; i < workers; ++i) {
    workers_.emplace_back([this](std::stop_token stop) { work(stop); });
  }
}

Controller::~Controller() {
  for (std::jthread& worker : workers_) worker.request_stop();
}

void Controller::work(std::stop_token stop) {
  while (const std::optional<std::string> key = queue_.get(stop)) {
    run_one(*key, stop);
    queue_.done(*key);
  }
}

void Controller::run_one(const std::string& key, std::stop_token stop) {
  Result<Outcome> outcome = [&]() -> Result<Outcome> {
    try {
      return reconcile_(key_from_string(key), stop);
    } catch (const std::exception& failure) {
      return make_error(ErrorKind::Internal, "unexpected: {}", failure.what());
    }
  }();
  if (outcome) {
    queue_.forget(key);
    if (outcome->requeue_after) queue_.add_after(key, *outcome->requeue_after);
    return;
  }
  if (outcome.error().kind() == ErrorKind::Canceled) return;
  if (outcome.error().kind() == ErrorKind::Aborted) {
    queue_.add_after(key, kAfterConflict);
    return;
  }
  log_.warn("reconcile failed, trying again", outcome.error(), {{"import", key}});
  queue_.add_failed(key);
}

}  // namespace vmferry::kube
