#include "transfer/run_queue.h"

#include <gtest/gtest.h>

#include <thread>

namespace vmferry {
namespace {

TEST(RunQueueTest, HandsOutPiecesInOrderAndEndsWhenClosed) {
  RunQueue queue;
  ASSERT_TRUE(queue.push({0, 5, ChunkAction::Copy, kAllPieces}, {}));
  ASSERT_TRUE(queue.push({5, 100, ChunkAction::Zero, 0}, {}));
  queue.close();
  std::uint64_t at = 0;
  std::vector<std::uint64_t> counts;
  while (const auto work = queue.pop(2, 60, {})) {
    EXPECT_EQ(work->first, at);
    EXPECT_EQ(work->action, at < 5 ? ChunkAction::Copy : ChunkAction::Zero);
    counts.push_back(work->count);
    at += work->count;
  }
  EXPECT_EQ(counts, (std::vector<std::uint64_t>{2, 2, 1, 60, 40}));
}

TEST(RunQueueTest, WhoIsStoppedGetsNothingMoreThoughThereIsWork) {
  RunQueue queue(1);
  std::stop_source stop;
  ASSERT_TRUE(queue.push({0, 1, ChunkAction::Copy, kAllPieces}, stop.get_token()));
  stop.request_stop();
  EXPECT_FALSE(queue.push({1, 1, ChunkAction::Copy, kAllPieces}, stop.get_token()));
  EXPECT_FALSE(queue.pop(1, 1, stop.get_token()).has_value());
  EXPECT_TRUE(queue.pop(1, 1, {}).has_value()) << "nothing was lost";
}

TEST(RunQueueTest, AStopWakesWhoWaitsForWorkAndWhoWaitsForRoom) {
  RunQueue empty;
  RunQueue full(1);
  ASSERT_TRUE(full.push({0, 1, ChunkAction::Copy, kAllPieces}, {}));
  std::stop_source stop;
  const std::jthread worker([&] { EXPECT_FALSE(empty.pop(1, 1, stop.get_token()).has_value()); });
  const std::jthread planner([&] {
    EXPECT_FALSE(full.push({1, 1, ChunkAction::Copy, kAllPieces}, stop.get_token()));
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // usually they wait by now
  stop.request_stop();
}

TEST(RunQueueTest, RoomAndWorkWakeWhoWaitsForThem) {
  RunQueue queue(1);
  std::uint64_t taken = 0;
  const std::jthread planner([&] {
    for (std::uint64_t i = 0; i < 1000; ++i) {
      EXPECT_TRUE(queue.push({i, 1, ChunkAction::Copy, kAllPieces}, {}));
    }
    queue.close();
  });
  while (queue.pop(1, 1, {})) ++taken;
  EXPECT_EQ(taken, 1000u);
}

}  // namespace
}  // namespace vmferry
