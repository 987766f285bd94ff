#include "common/thread.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <future>
#include <stdexcept>

namespace vmferry {
namespace {

TEST(ThreadTest, WhatABodyThrowsIsAnErrorOfItsOwner) {
  std::promise<Error> told;
  const Result<std::jthread> thread =
      start_thread([](std::stop_token) { throw std::runtime_error("no such luck"); },
                   [&](Error error) { told.set_value(std::move(error)); });
  ASSERT_TRUE(thread.ok());
  const Error error = told.get_future().get();
  EXPECT_EQ(error.kind(), ErrorKind::Internal);
  EXPECT_NE(error.message().find("no such luck"), std::string::npos) << error.message();
}

TEST(ThreadTest, IsStoppedWithItsHandle) {
  std::promise<void> stopped;
  {
    const Result<std::jthread> thread = start_thread(
        [&](const std::stop_token& stop) {
          while (!stop.stop_requested()) std::this_thread::yield();
          stopped.set_value();
        },
        [](const Error&) {});
    ASSERT_TRUE(thread.ok());
  }
  stopped.get_future().get();
}

// 0 when there was no room for a thread's stack and this was told as a shortage. Root may have any
// number of threads, so the memory is taken away: in a process of its own.
int start_without_memory() {
  std::uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const rlim_t bytes = pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE)) + (1u << 20);
  const rlimit tight{bytes, bytes};
  if (::setrlimit(RLIMIT_AS, &tight) != 0) return 2;
  const Result<std::jthread> thread = start_thread([](std::stop_token) {}, [](const Error&) {});
  return !thread && thread.error().kind() == ErrorKind::Unavailable ? 0 : 1;
}

TEST(ThreadTest, AThreadThatIsNotToBeHadIsAShortageThatMayPass) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers need the memory themselves";
#endif
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(std::_Exit(start_without_memory()), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace vmferry
