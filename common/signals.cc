#include "common/signals.h"

#include <pthread.h>
#include <unistd.h>

#include <condition_variable>
#include <csignal>
#include <mutex>

namespace vmferry {
namespace {

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
    while (true) {
      int signal = 0;
      if (sigwait(&set, &signal) != 0) continue;
      if (stop.stop_requested()) return;
      if (received_ != 0 && signal == SIGINT) ::_exit(130);
      received_ = signal;
      source_.request_stop();
    }
  });
}

// A signal to the thread alone wakes it: polling would hold up every program's end by a tenth of a
// second in the middle.
StopSignals::~StopSignals() {
  thread_.request_stop();
  ::pthread_kill(thread_.native_handle(), SIGINT);
}

void wait_for_stop(std::stop_token stop) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait(lock, stop, [] { return false; });
}

}  // namespace vmferry
