#include "transfer/read_gate.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "tests/transfer/support/copy_run.h"
#include "tests/transfer/support/disks.h"
#include "transfer/sinks/memory.h"
#include "transfer/sources/memory.h"

namespace vmferry {
namespace {

TEST(ReadGateTest, NeverLetsMoreInThanItsWidth) {
  ReadGate gate(3);
  std::atomic<int> inside = 0;
  std::atomic<int> most = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        for (int turn = 0; turn < 200; ++turn) {
          const GatePass pass(gate, {});
          ASSERT_TRUE(pass);
          const int now = ++inside;
          for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
          }
          std::this_thread::yield();
          --inside;
        }
      });
    }
  }
  EXPECT_LE(most, 3);
  EXPECT_EQ(inside, 0);
}

TEST(ReadGateTest, AStopEndsTheWaitAndTakesNoPlace) {
  ReadGate gate(1);
  std::stop_source stop;
  {
    const GatePass holder(gate, {});
    std::atomic<bool> was_let_in = true;
    std::jthread waiting([&] { was_let_in = static_cast<bool>(GatePass(gate, stop.get_token())); });
    stop.request_stop();
    waiting.join();
    EXPECT_FALSE(was_let_in);
  }
  EXPECT_TRUE(GatePass(gate, {}));
}

TEST(ReadGateTest, HalfOfTheWorkersReadANearSource) {
  const testing::Bytes content = testing::random_bytes(64 * kChunkBytes, 3);
  for (const bool is_near : {true, false}) {
    MemorySource source(content);
    source.hints_given = {.workers = 6, .is_near = is_near};
    std::atomic<int> reading = 0;
    std::atomic<int> most = 0;
    source.on_read = [&](ByteRange, std::stop_token) -> Result<void> {
      const int now = ++reading;
      for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      --reading;
      return {};
    };
    MemorySink sink(content.size());
    testing::Copy copy;
    ASSERT_TRUE(copy.run(source, sink).ok());
    EXPECT_EQ(sink.content(), content);
    if (is_near) {
      EXPECT_LE(most, 3);
    } else {
      EXPECT_GT(most, 3) << "all six may";
    }
  }
}

}  // namespace
}  // namespace vmferry
