// What is healed inside the transfer, and counted.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <functional>
#include <thread>

#include "tests/transfer/support/fault_fixture.h"

namespace vmferry {
namespace {

using namespace std::chrono_literals;
using testing::Bytes;
using testing::copy_to;
using testing::Deadline;
using testing::expect_clean;
using testing::FaultsComponentTest;
using testing::kDeadline;
using testing::kSizes;
using testing::open_nbd;

class HealingComponentTest : public FaultsComponentTest {
 protected:
  void SetUp() override {
    if (!testing::has_program("nbdkit")) GTEST_SKIP() << "needs nbdkit";
    disk_ = make_disk(24 * kChunkBytes);
    socket_ = workspace_.path("nbd.sock");
    // Slow enough for something to happen in the middle.
    command_ = {"nbdkit", "--foreground", "--readonly",      "--exit-with-parent",
                "--unix", socket_,        "--filter=delay",  "--filter=noextents",
                "file",   image_,         "delay-read=100ms"};
  }
  std::unique_ptr<testing::Peer> start() {
    std::filesystem::remove(socket_);
    auto peer = std::make_unique<testing::Peer>(command_);
    EXPECT_TRUE(testing::wait_for_file(socket_)) << peer->stderr_text();
    return peer;
  }
  // Copies while `trouble` happens; the target must be equal.
  CopyResult copy_through(const std::function<void()>& trouble) {
    const Deadline deadline(kDeadline);
    auto source = open_nbd("nbd+unix:///?socket=" + socket_);
    EXPECT_TRUE(source.ok());
    const std::jthread troublemaker([&] {
      std::this_thread::sleep_for(150ms);
      trouble();
    });
    const std::string target = workspace_.path("target.img");
    const auto sink = open_sink({.path = target, .size_bytes = disk_.size()});
    CopyOptions options;
    options.workers = 4;
    CopyMonitor monitor;
    const SystemClock clock;
    const Result<CopyResult> result =
        copy_disk(**source, **sink, nullptr, nullptr, options, monitor, clock, Logger(), {});
    EXPECT_TRUE(result.ok()) << to_string(result.error());
    EXPECT_TRUE(testing::read_whole(target, disk_.size()) == disk_);
    return result ? *result : CopyResult{};
  }

  Bytes disk_;
  std::string socket_;
  std::vector<std::string> command_;
};

TEST_F(HealingComponentTest, AnNbdServerThatIsRestartedInTheMiddleIsHealedAndCounted) {
  auto server = start();
  const CopyResult result = copy_through([&] {
    server.reset();
    std::this_thread::sleep_for(700ms);
    server = start();
  });
  EXPECT_GE(result.progress.source.reconnects, 1u);
  EXPECT_GE(result.progress.source.retries, 1u);
  EXPECT_FALSE(result.progress.source.last_error.empty());
}

TEST_F(HealingComponentTest, AServerThatFallsSilentIsGivenUpAndReconnected) {
  auto server = start();
  const CopyResult result = copy_through([&] {
    ::kill(server->pid(), SIGSTOP);
    std::this_thread::sleep_for(4s);  // longer than the watchdog of 3 s
    ::kill(server->pid(), SIGCONT);
  });
  EXPECT_GE(result.progress.source.reconnects, 1u);
}

TEST_F(HealingComponentTest, AServerThatIsSlowForAWhileIsWaitedFor) {
  auto server = start();
  const CopyResult result = copy_through([&] {
    ::kill(server->pid(), SIGSTOP);
    std::this_thread::sleep_for(1s);
    ::kill(server->pid(), SIGCONT);
  });
  EXPECT_EQ(result.progress.source.reconnects, 0u);
}

// The copier's own watch is the last resort: it must not end what the source is about to heal.
TEST(HealingTest, TheCopierIsMorePatientThanAnySource) {
  const CopyOptions copier;
  EXPECT_GT(copier.stall_limit, NbdOptions{}.watchdog + NbdOptions{}.reconnect_limit);
  const HttpPatience http;
  EXPECT_GT(copier.stall_limit, http.retries * (http.stall_timeout + http.backoff.cap));
}

}  // namespace
}  // namespace vmferry
