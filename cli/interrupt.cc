#include "cli/interrupt.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

namespace vmferry::cli {
namespace {

std::atomic<int> signal_fd{-1};

// Only what a signal handler may do: one write. SA_RESETHAND lets the second signal kill.
void on_signal(int) {
  const int saved = errno;
  const std::uint64_t one = 1;
  const ssize_t written = ::write(signal_fd.load(), &one, sizeof one);
  static_cast<void>(written);  // an eventfd that cannot count higher is awake already
  errno = saved;
}

void set_handler(void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART | static_cast<int>(SA_RESETHAND);
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

}  // namespace

Interrupt::Interrupt() {
  signal_fd = wake_.get();
  thread_ = std::jthread([this](std::stop_token ending) {
    const std::stop_callback wake(ending, [this] { wake_.signal(); });
    pollfd descriptor{.fd = wake_.get(), .events = POLLIN, .revents = 0};
    while (::poll(&descriptor, 1, -1) < 0 && errno == EINTR) {
    }
    if (!ending.stop_requested()) stop_.request_stop();
  });
  set_handler(on_signal);
}

Interrupt::~Interrupt() {
  set_handler(SIG_DFL);
  thread_.request_stop();
  thread_.join();
  signal_fd = -1;
}

}  // namespace vmferry::cli
