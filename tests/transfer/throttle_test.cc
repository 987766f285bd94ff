#include "transfer/throttle.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace vmferry {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

double elapsed(const Clock& clock, SteadyTime since) {
  return Seconds(clock.steady() - since).count();
}

TEST(TokenBucketTest, FillsToItsBurstAndGoesIntoDebt) {
  TokenBucket bucket{.rate = 1000, .burst_seconds = 0.25};
  const SteadyTime start{};
  EXPECT_EQ(bucket.take(100, start), milliseconds(100));
  EXPECT_EQ(bucket.take(0, start + milliseconds(100)).count(), 0);
  bucket.refill(start + seconds(60));
  EXPECT_DOUBLE_EQ(bucket.tokens, 250);
  EXPECT_EQ(bucket.take(1250, start + seconds(60)), seconds(1));
  // A debt is paid at the rate of now.
  bucket.set_rate(10'000, start + seconds(60));
  EXPECT_EQ(bucket.take(0, start + seconds(60)), milliseconds(100));
}

TEST(TokenBucketTest, RateZeroIsUnlimited) {
  TokenBucket bucket;
  EXPECT_EQ(bucket.take(1ull << 40, SteadyTime{}).count(), 0);
}

TEST(ThrottleTest, LetsBytesThroughAtItsRate) {
  const FakeClock clock;
  Throttle throttle(clock, 10 << 20);
  const SteadyTime start = clock.steady();
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(throttle.acquire(1 << 20, {}).ok());
  EXPECT_NEAR(elapsed(clock, start), 10.0, 0.5);
}

TEST(ThrottleTest, TakesTheSlowerOfItselfAndItsParent) {
  const FakeClock clock;
  Throttle parent(clock, 1 << 20);
  Throttle child(clock, 100 << 20, &parent);
  const SteadyTime start = clock.steady();
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(child.acquire(1 << 20, {}).ok());
  EXPECT_NEAR(elapsed(clock, start), 10.0, 0.5);
}

TEST(ThrottleTest, ItsLimitIsTheLowestAboveIt) {
  const FakeClock clock;
  Throttle parent(clock);
  Throttle child(clock, 0, &parent);
  EXPECT_EQ(child.limit(), 0u);
  parent.set_rate(5);
  EXPECT_EQ(child.limit(), 5u);
  child.set_rate(7);
  EXPECT_EQ(child.limit(), 5u);
  child.set_rate(3);
  EXPECT_EQ(child.limit(), 3u);
  parent.set_rate(0);
  EXPECT_EQ(child.limit(), 3u);
}

TEST(ThrottleTest, ItsShareIsAnEqualPartOfWhatOthersShareAsWell) {
  const FakeClock clock;
  Throttle parent(clock, 12);
  Throttle child(clock, 0, &parent);
  EXPECT_EQ(child.share(), 12u);
  {
    Throttle second(clock, 2, &parent);
    Throttle third(clock, 0, &parent);
    EXPECT_EQ(child.share(), 4u);
    EXPECT_EQ(second.share(), 2u);
    parent.set_rate(1);
    EXPECT_EQ(child.share(), 1u) << "0 would be no limit";
    parent.set_rate(0);
    EXPECT_EQ(child.share(), 0u);
    EXPECT_EQ(second.share(), 2u);
  }
  parent.set_rate(12);
  EXPECT_EQ(child.share(), 12u);
}

TEST(ThrottleTest, AChangeTakesEffectWithinASecondWhileSomebodyWaits) {
  const SystemClock clock;
  Throttle throttle(clock, 1000);  // a MiB would take 17 minutes
  std::jthread waiter([&] { EXPECT_TRUE(throttle.acquire(1 << 20, {}).ok()); });
  std::this_thread::sleep_for(milliseconds(50));
  const SteadyTime start = clock.steady();
  throttle.set_rate(1 << 30);
  waiter.join();
  EXPECT_LT(elapsed(clock, start), 1.0);
  EXPECT_EQ(throttle.rate(), 1u << 30);
}

TEST(ThrottleTest, StoppedWaitersLeaveTheQueue) {
  const SystemClock clock;
  Throttle throttle(clock, 1000);
  std::stop_source stop;
  std::vector<std::jthread> waiters;
  for (int i = 0; i < 4; ++i) {
    waiters.emplace_back([&] {
      const Result<void> result = throttle.acquire(1 << 20, stop.get_token());
      ASSERT_FALSE(result.ok());
      EXPECT_EQ(result.error().kind(), ErrorKind::Canceled);
    });
  }
  std::this_thread::sleep_for(milliseconds(50));
  const SteadyTime start = clock.steady();
  stop.request_stop();
  waiters.clear();
  EXPECT_LT(elapsed(clock, start), 1.0);
  throttle.set_rate(0);
  EXPECT_TRUE(throttle.acquire(1 << 20, {}).ok());  // nobody is left in the queue
}

TEST(ThrottleTest, SharesFairlyBetweenTwoDisks) {
  const SystemClock clock;
  Throttle throttle(clock, 40 << 20);
  std::atomic<int> done[2] = {0, 0};
  std::stop_source stop;
  {
    std::vector<std::jthread> disks;
    for (int disk = 0; disk < 2; ++disk) {
      for (int worker = 0; worker < 2; ++worker) {
        disks.emplace_back([&, disk] {
          while (throttle.acquire(1 << 20, stop.get_token())) ++done[disk];
        });
      }
    }
    std::this_thread::sleep_for(milliseconds(600));
    stop.request_stop();
  }
  EXPECT_GT(done[0] + done[1], 15);
  EXPECT_LE(std::abs(done[0] - done[1]), 4);
}

TEST(ThrottleTest, DisksShareEvenlyWhateverTheirWorkersAndRequestSizes) {
  const SystemClock clock;
  Throttle agent(clock, 64u << 20);
  Throttle busy(clock, 0, &agent);
  Throttle modest(clock, 0, &agent);
  std::stop_source stop;
  std::atomic<std::uint64_t> busy_bytes{0};
  std::atomic<std::uint64_t> modest_bytes{0};
  const auto draw = [&](Throttle& disk, std::atomic<std::uint64_t>& total, std::uint64_t request) {
    while (disk.acquire(request, stop.get_token())) total += request;
  };
  std::vector<std::jthread> workers;
  for (int i = 0; i < 4; ++i) workers.emplace_back([&] { draw(busy, busy_bytes, 2u << 20); });
  workers.emplace_back([&] { draw(modest, modest_bytes, 1u << 20); });
  while (busy_bytes + modest_bytes < (48u << 20)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  stop.request_stop();
  workers.clear();
  EXPECT_GT(modest_bytes, busy_bytes / 2);
}

}  // namespace
}  // namespace vmferry
