#include "coordinator/kube/workqueue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "coordinator/kube/controller.h"

namespace vmferry::kube {
namespace {

Backoff quick() {
  return {.first = std::chrono::milliseconds(1), .cap = std::chrono::milliseconds(5)};
}

TEST(WorkQueueTest, HandsOutAKeyOnceHoweverOftenItWasAdded) {
  WorkQueue queue(quick());
  queue.add("a");
  queue.add("a");
  EXPECT_EQ(queue.get({}), "a");
  queue.done("a");
  EXPECT_EQ(queue.size(), 0u);
}

TEST(WorkQueueTest, AKeyAddedDuringItsWorkComesAgainAfterwards) {
  WorkQueue queue(quick());
  queue.add("a");
  ASSERT_EQ(queue.get({}), "a");
  queue.add("a");
  queue.add("b");
  EXPECT_EQ(queue.get({}), "b") << "a is being worked on";
  queue.done("a");
  EXPECT_EQ(queue.get({}), "a");
}

TEST(WorkQueueTest, TheEarliestOfSeveralDelaysCounts) {
  WorkQueue queue(quick());
  queue.add_after("a", std::chrono::hours(1));
  queue.add_after("a", std::chrono::milliseconds(1));
  EXPECT_EQ(queue.get({}), "a");
}

TEST(WorkQueueTest, KeysComeInTheOrderOfTheirTimes) {
  WorkQueue queue(quick());
  for (int i = 0; i < 100; ++i) {  // scattered, with an earlier time for every third afterwards
    queue.add_after(std::to_string(i), std::chrono::milliseconds(20 + i * 37 % 100));
  }
  for (int i = 0; i < 100; i += 3) queue.add(std::to_string(i));
  std::string last;
  for (int i = 0; i < 100; ++i) {
    const std::string key = *queue.get({});
    const int number = std::stoi(key);
    EXPECT_EQ(number % 3 == 0, i < 34) << key;
    EXPECT_TRUE(i <= 34 || std::stoi(last) * 37 % 100 < number * 37 % 100) << last << " " << key;
    last = key;
    queue.done(key);
  }
  EXPECT_EQ(queue.size(), 0u);
}

TEST(WorkQueueTest, OfDelaysGivenDuringTheWorkTheEarliestCounts) {
  WorkQueue queue(quick());
  queue.add("a");
  ASSERT_EQ(queue.get({}), "a");
  queue.add_after("a", std::chrono::hours(1));
  queue.add_after("a", std::chrono::milliseconds(1));
  queue.add("b");
  EXPECT_EQ(queue.get({}), "b");
  queue.done("a");
  queue.done("b");
  EXPECT_EQ(queue.get({}), "a");
  EXPECT_EQ(queue.size(), 1u);
}

TEST(WorkQueueTest, GetEndsWhenStopped) {
  WorkQueue queue(quick());
  std::stop_source stop;
  std::jthread waiter([&] { EXPECT_EQ(queue.get(stop.get_token()), std::nullopt); });
  stop.request_stop();
}

TEST(ControllerTest, AnErrorComesBackUntilItSucceeds) {
  WorkQueue queue(quick());
  std::atomic<int> passes{0};
  const Controller controller(
      queue,
      [&](const ObjectKey& key, std::stop_token) -> Result<Outcome> {
        EXPECT_EQ(key, (ObjectKey{"ns", "name"}));
        if (++passes < 3) return make_error(ErrorKind::Unavailable, "not yet");
        return Outcome{};
      },
      2, Logger());
  queue.add("ns/name");
  while (passes < 3) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  while (queue.size() != 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(passes, 3);
}

TEST(ControllerTest, NeverReconcilesOneKeyTwiceAtOnce) {
  WorkQueue queue(quick());
  std::atomic<int> inside{0};
  std::atomic<int> passes{0};
  const Controller controller(
      queue,
      [&](const ObjectKey&, std::stop_token) -> Result<Outcome> {
        EXPECT_EQ(++inside, 1);
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        --inside;
        ++passes;
        return Outcome{};
      },
      4, Logger());
  while (passes < 10) {
    queue.add("ns/name");
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
}

}  // namespace
}  // namespace vmferry::kube
