#include "transfer/sources/read_pace.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <stop_token>
#include <thread>

namespace vmferry {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kMiB = 1u << 20;

// So many requests in flight, of the same generation.
std::deque<ReadPace::Turn> turns(ReadPace& pace, int count) {
  std::deque<ReadPace::Turn> taken;
  for (int i = 0; i < count; ++i) taken.push_back(pace.take({}));
  return taken;
}

TEST(ReadPaceTest, HalvesSizeAndNumberDownToAFloor) {
  ReadPace pace(32 * kMiB, 0, 0ms);
  const struct {
    std::uint32_t bytes;
    int in_flight;
  } steps[] = {{512u << 10, 4}, {256u << 10, 2}, {256u << 10, 1}, {256u << 10, 1}};
  int in_flight = 8;
  for (const auto& step : steps) {
    const std::uint64_t generation = turns(pace, in_flight).front().generation();
    EXPECT_TRUE(pace.shrink(std::min(kMiB, pace.request_bytes()), generation));
    EXPECT_EQ(pace.request_bytes(), step.bytes);
    EXPECT_EQ(pace.most_in_flight(), step.in_flight);
    in_flight = step.in_flight;
  }
}

TEST(ReadPaceTest, OfManyThatFailAtOnceOneShrinks) {
  ReadPace pace(kMiB, 0, 0ms);
  const auto failed = turns(pace, 8);
  EXPECT_TRUE(pace.shrink(kMiB, failed[0].generation()));
  for (int i = 1; i < 8; ++i) EXPECT_FALSE(pace.shrink(kMiB, failed[i].generation()));
  EXPECT_EQ(pace.request_bytes(), kMiB / 2);
}

TEST(ReadPaceTest, ALimitOfTheServerIsKept) {
  ReadPace pace(kMiB, 0, 0ms);
  pace.refuse_above(64u << 10);
  EXPECT_TRUE(pace.shrink(64u << 10, pace.take({}).generation()));
  EXPECT_EQ(pace.request_bytes(), 64u << 10) << "below the floor already";
}

TEST(ReadPaceTest, NobodyAsksDuringThePauseAndNoMoreThanMayAtOnce) {
  ReadPace pace(kMiB, 0, 200ms);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(pace.shrink(kMiB, turns(pace, 2).front().generation()));
  const auto held = pace.take({});
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 200ms);
  std::atomic<bool> second{false};
  std::stop_source source;
  {
    const std::jthread other([&] { second = bool(pace.take(source.get_token())); });
    std::this_thread::sleep_for(50ms);
    EXPECT_FALSE(second);
    source.request_stop();
  }
  EXPECT_FALSE(second) << "stopped while it waited";
}

}  // namespace
}  // namespace vmferry
