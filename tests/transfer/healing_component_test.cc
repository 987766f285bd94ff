// What is healed inside the transfer, and counted.
#include <gtest/gtest.h>
#include <libnbd.h>
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <functional>
#include <thread>
#include <vector>

#include "common/catalogue.h"
#include "tests/transfer/support/fault_fixture.h"
#include "transfer/open_source.h"
#include "transfer/resume.h"
#include "transfer/sources/nbd.h"
#include "transfer/sources/nbd_handle.h"

namespace vmferry {
namespace {

using namespace std::chrono_literals;
using testing::Bytes;
using testing::Deadline;
using testing::FaultsComponentTest;
using testing::kDeadline;
using testing::open_nbd;

class HealingComponentTest : public FaultsComponentTest {
 protected:
  void SetUp() override {
    if (!testing::has_program("nbdkit")) GTEST_SKIP() << "needs nbdkit";
    disk_ = make_disk(24 * kChunkBytes);
    socket_ = workspace_.path("nbd.sock");
    // Slow enough for something to happen in the middle.
    command_ = {"nbdkit",          "--pidfile",          socket_ + ".pid", "--foreground",
                "--readonly",      "--exit-with-parent", "--unix",         socket_,
                "--filter=delay",  "--filter=noextents", "file",           image_,
                "delay-read=100ms"};
  }
  std::unique_ptr<testing::Peer> start() {
    std::filesystem::remove(socket_);
    std::filesystem::remove(socket_ + ".pid");  // written once it listens
    auto peer = std::make_unique<testing::Peer>(command_);
    EXPECT_TRUE(testing::wait_for_file(socket_ + ".pid")) << peer->stderr_text();
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

// All four connections are lost, one is had again.
TEST_F(HealingComponentTest, AnNbdServerThatComesBackForFewerClientsIsReadOverThose) {
  auto server = start();
  const CopyResult result = copy_through([&] {
    server.reset();
    command_.insert(std::find(command_.begin(), command_.end(), "--filter=delay"),
                    "--filter=limit");
    command_.emplace_back("limit=1");
    server = start();
  });
  EXPECT_GE(result.progress.source.reconnects, 1u);
}

// It is asked for larger blocks from now on, and holds what it held: no reason to drop the journal.
TEST_F(HealingComponentTest, AServerThatComesBackForLargerBlocksHasNotChangedItsDisk) {
  const Deadline deadline(kDeadline);
  auto server = start();
  const auto source = open_nbd("nbd+unix:///?socket=" + socket_);
  ASSERT_TRUE(source.ok());
  server.reset();
  command_.insert(std::find(command_.begin(), command_.end(), "--filter=delay"),
                  "--filter=blocksize-policy");
  command_.insert(command_.end(), {"blocksize-minimum=4096", "blocksize-preferred=4096"});
  server = start();
  Bytes into(kChunkBytes);
  const Result<void> read = (*source)->read(0, into, {});
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().code(), code::kSourceProtocol) << to_string(read.error());
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

// Of the same size, but with another disk: what it says must not be written.
TEST_F(HealingComponentTest, AServerThatComesBackWithAnotherDiskEndsTheCopy) {
  struct Case {
    const char* name;
    bool other;
    bool fingerprint;
  };
  for (const auto& [name, other, fingerprint] :
       {Case{"the same, known by samples", false, true},
        Case{"another, known by samples", true, true},
        Case{"the same, known by what was read", false, false},
        Case{"another, known by what was read", true, false}}) {
    SCOPED_TRACE(name);
    workspace_.write("served.img", disk_);
    auto server = start();
    DiskEndpoint endpoint;
    endpoint.kind = SourceKind::Nbd;
    endpoint.url = "nbd+unix:///?socket=" + socket_;
    SourceEnvironment environment;
    environment.scratch_directory = std::filesystem::path(socket_).parent_path();
    environment.fingerprint = fingerprint;
    const auto source = open_source(endpoint, environment, {});
    ASSERT_TRUE(source.ok()) << to_string(source.error());
    std::uint64_t next = 0;
    Bytes chunk(kChunkBytes);
    for (; next < 4 * kChunkBytes; next += kChunkBytes) {
      ASSERT_TRUE((*source)->read(next, chunk, {}).ok());
    }
    server.reset();
    if (other) workspace_.write("served.img", testing::patterned(disk_.size(), 99));
    server = start();
    // All readers at once, over each of its connections.
    std::atomic<int> believed{0};
    {
      std::vector<std::jthread> readers;
      for (; next < 12 * kChunkBytes; next += kChunkBytes) {
        readers.emplace_back([&, next] {
          Bytes into(kChunkBytes);
          const Result<void> read = (*source)->read(next, into, {});
          if (read) {
            ++believed;
            EXPECT_TRUE(std::ranges::equal(into, std::span(disk_).subspan(next, kChunkBytes)));
          } else {
            EXPECT_EQ(read.error().code(), code::kSourceChanged) << to_string(read.error());
          }
        });
      }
    }
    EXPECT_EQ(believed, other ? 0 : 8);
    EXPECT_GE((*source)->counters().reconnects, 1u);
    EXPECT_EQ((*source)->troubles().reconnects, (*source)->counters().reconnects);
    EXPECT_EQ((*source)->troubles().retries, (*source)->counters().retries);
  }
}

// The other state differs where the content sample does not look, but where the copy has read.
TEST_F(HealingComponentTest, TheNextRunBelievesNothingThatWasCopiedBeforeItsServerChanged) {
  const Deadline deadline(2 * kDeadline);
  disk_ = testing::patterned(disk_.size(), 7);
  workspace_.write("served.img", disk_);
  Bytes other = disk_;
  other[3 * kChunkBytes] ^= std::byte{1};
  const std::string path = workspace_.path("target.img");
  DiskEndpoint endpoint;
  endpoint.kind = SourceKind::Nbd;
  endpoint.url = "nbd+unix:///?socket=" + socket_;
  SourceEnvironment environment;
  environment.scratch_directory = std::filesystem::path(socket_).parent_path();
  environment.fingerprint = true;
  const SystemClock clock;
  Throttle throttle(clock, 8 * kChunkBytes);
  const auto run = [&](CopyMonitor& monitor, bool& started_over) -> Result<CopyResult> {
    const auto source = TRY(open_source(endpoint, environment, {}));
    const TargetOpen target = TRY(
        open_target({.path = path, .size_bytes = disk_.size()},
                    {.job = "job", .hash = "xxh3-128", .source = source->identity(), .target = {}},
                    workspace_.path("journal"), std::nullopt, {}));
    started_over = target.started_over;
    CopyOptions options;
    options.checkpoint_every = 50ms;
    return copy_disk(*source, *target.sink, target.journal.get(), &throttle, options, monitor,
                     clock, Logger(), {});
  };
  auto server = start();
  bool started_over = false;
  {
    CopyMonitor monitor;
    const std::jthread troublemaker([&](std::stop_token stop) {
      while (monitor.snapshot().durable_bytes < 6 * kChunkBytes && !stop.stop_requested()) {
        std::this_thread::sleep_for(10ms);
      }
      server.reset();
      workspace_.write("served.img", other);
      server = start();
    });
    const Result<CopyResult> result = run(monitor, started_over);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code(), code::kSourceChanged) << to_string(result.error());
  }
  CopyMonitor monitor;
  const Result<CopyResult> result = run(monitor, started_over);
  ASSERT_TRUE(result.ok()) << to_string(result.error());
  EXPECT_TRUE(started_over);
  EXPECT_EQ(result->progress.resumed_bytes, 0u);
  EXPECT_TRUE(testing::read_whole(path, disk_.size()) == other);
}

// The server counts dead connections among its clients and lets the next one wait.
struct LostConnections {
  const char* name;
  std::size_t lost;
  int had_again;
};

class LostConnectionsComponentTest : public HealingComponentTest,
                                     public ::testing::WithParamInterface<LostConnections> {};

INSTANTIATE_TEST_SUITE_P(All, LostConnectionsComponentTest,
                         ::testing::Values(LostConnections{"OneOfFourAndNoneAgain", 1, 0},
                                           LostConnections{"AllAndOneAgain", 4, 1}),
                         [](const auto& test) { return std::string(test.param.name); });

TEST_P(LostConnectionsComponentTest, ThoseThatCannotBeHadAgainDoNotHoldUpTheOthers) {
  const auto server = start();
  const SystemClock clock;
  std::atomic<int> dialed{0};
  std::vector<int> connections;  // complete before anybody reads
  const NbdDial dial = [&](std::chrono::milliseconds deadline,
                           std::stop_token stop) -> Result<NbdHandle> {
    const int number = ++dialed;
    if (number > 4 + GetParam().had_again) {
      (void)clock.sleep(deadline, stop);
      return Error(ErrorKind::DeadlineExceeded, "waiting for its turn");
    }
    Result<NbdHandle> handle =
        dial_nbd({.uri = {}, .unix_socket = socket_, .certificates_directory = {}}, deadline, stop);
    if (handle && number <= 4) connections.push_back(nbd_aio_get_fd(handle->get()));
    return handle;
  };
  NbdOptions options;
  options.connect_deadline = 1s;
  options.extra_connect_deadline = 200ms;
  options.reconnect_limit = 5s;
  const auto source = NbdSource::open(dial, {{"url", "x"}}, options, Logger(), {});
  ASSERT_TRUE(source.ok()) << to_string(source.error());
  ASSERT_EQ((*source)->connections(), 4);
  const Deadline deadline(kDeadline);
  const std::jthread troublemaker([&] {
    std::this_thread::sleep_for(150ms);
    for (std::size_t i = 1; i <= GetParam().lost; ++i) ::shutdown(connections[i % 4], SHUT_RDWR);
  });
  Bytes read(disk_.size());
  {
    std::vector<std::jthread> readers;
    std::atomic<std::size_t> next{0};
    for (int i = 0; i < 8; ++i) {
      readers.emplace_back([&] {
        for (std::size_t at; (at = next.fetch_add(kChunkBytes)) < read.size();) {
          EXPECT_TRUE((*source)->read(at, std::span(read).subspan(at, kChunkBytes), {}).ok());
        }
      });
    }
  }
  EXPECT_TRUE(read == disk_);
  EXPECT_GT(dialed, 4);
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
