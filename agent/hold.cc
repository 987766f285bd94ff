#include "agent/hold.h"

#include <signal.h>

#include <cerrno>

namespace vmferry {

int hold() {
  // As a container's first process it gets only signals that it asks for.
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGTERM);
  ::sigaddset(&signals, SIGINT);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  while (::sigwaitinfo(&signals, nullptr) < 0) {
    if (errno != EINTR) return 1;
  }
  return 0;
}

}  // namespace vmferry
