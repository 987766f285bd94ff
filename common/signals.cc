#include "common/signals.h"

#include <pthread.h>
#include <unistd.h>

#include <condition_variable>
#include <csignal>
#include <ctime>
#include <mutex>

namespace vmferry {
namespace {

constexpr timespec kPoll{.tv_sec = 0, .tv_nsec = 100'000'000};

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

}  // namespace

StopSignals::StopSignals() {
  const sigset_t set = stop_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  thread_ = std::jthread([this, set](std::stop_token stop) {
    while (!stop.stop_requested()) {
      const int signal = sigtimedwait(&set, nullptr, &kPoll);
      if (signal <= 0) continue;
      if (received_ != 0 && signal == SIGINT) ::_exit(130);
      received_ = signal;
      source_.request_stop();
    }
  });
}

StopSignals::~StopSignals() = default;

void wait_for_stop(std::stop_token stop) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait(lock, stop, [] { return false; });
}

}  // namespace vmferry
