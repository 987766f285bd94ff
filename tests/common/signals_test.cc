#include "common/signals.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <thread>

namespace vmferry {
namespace {

class SignalsTest : public ::testing::Test {
 protected:
  SignalsTest() { pthread_sigmask(SIG_SETMASK, nullptr, &before_); }
  ~SignalsTest() override { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

TEST_F(SignalsTest, ASignalAsksToStopAndIsTold) {
  const StopSignals signals;
  EXPECT_FALSE(signals.token().stop_requested());
  EXPECT_EQ(signals.received(), 0);
  ::kill(::getpid(), SIGTERM);
  while (!signals.token().stop_requested()) std::this_thread::yield();
  EXPECT_EQ(signals.received(), SIGTERM);
}

// Each of them waited for a poll of a tenth of a second, half of it in the middle.
TEST_F(SignalsTest, NobodyWaitsForItsEndAndNothingIsLeftPending) {
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 500; ++i) {
    const StopSignals signals;
    EXPECT_FALSE(signals.token().stop_requested());
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
  sigset_t pending;
  ASSERT_EQ(::sigpending(&pending), 0);
  EXPECT_EQ(sigismember(&pending, SIGINT), 0);
}

}  // namespace
}  // namespace vmferry
