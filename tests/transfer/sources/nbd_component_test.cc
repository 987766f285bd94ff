// The NBD source against nbdkit and qemu-nbd. NS: rows of the data plane,
// tests/support/edge_rows.py.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <optional>
#include <thread>

#include "common/catalogue.h"
#include "common/fd.h"
#include "tests/support/places.h"
#include "tests/transfer/support/source_peers.h"
#include "transfer/sources/nbd.h"
#include "transfer/sources/nbd_handle.h"

namespace vmferry {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;
using testing::all_extents;
using testing::Bytes;
using testing::has_program;
using testing::Nbdkit;
using testing::patterned;
using testing::read_all;
using testing::Workspace;

NbdOptions quick() {
  NbdOptions options;
  options.reconnect = {.first = 10ms, .cap = 100ms};
  options.retry_delays = {1ms, 2ms, 4ms};
  options.extra_connect_deadline = 500ms;
  return options;
}

Result<std::unique_ptr<NbdSource>> open(const std::string& uri, NbdOptions options = quick(),
                                        TlsTrust trust = {}) {
  DiskEndpoint endpoint;
  endpoint.kind = SourceKind::Nbd;
  endpoint.url = uri;
  endpoint.trust = std::move(trust);
  return open_nbd_source(endpoint, "", options, Logger(), {});
}

class NbdSourceComponentTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!has_program("nbdkit")) GTEST_SKIP() << "needs nbdkit";
  }
  // The whole disk through nbdkit with these arguments before "file PATH".
  void expect_reads(std::vector<std::string> filters, std::vector<std::string> parameters,
                    const Bytes& disk, std::size_t request = 1u << 20) {
    std::vector<std::string> arguments = std::move(filters);
    arguments.insert(arguments.end(), {"file", workspace_.write("disk.img", disk)});
    arguments.insert(arguments.end(), parameters.begin(), parameters.end());
    const Nbdkit server(workspace_, arguments);
    auto source = open(server.uri());
    ASSERT_TRUE(source.ok()) << source.error().message();
    EXPECT_EQ((*source)->size_bytes(), disk.size());
    auto read = read_all(**source, 8, request);
    ASSERT_TRUE(read.ok()) << read.error().message();
    EXPECT_TRUE(*read == disk);
  }
  Workspace workspace_;
};

TEST_F(NbdSourceComponentTest, Nr5ReadsEveryByteWithManyWorkersOverSeveralConnections) {
  const Bytes disk = patterned((24u << 20) + 512);
  const Nbdkit server(workspace_, {"file", workspace_.write("disk.img", disk)});
  auto source = open(server.uri());
  ASSERT_TRUE(source.ok()) << source.error().message();
  EXPECT_EQ((*source)->connections(), 4);
  for (const int workers : {1, 3, 16}) {
    auto read = read_all(**source, workers);
    ASSERT_TRUE(read.ok()) << read.error().message();
    EXPECT_TRUE(*read == disk) << workers << " workers";
  }
  EXPECT_EQ((*source)->counters().retries, 0u);
}

TEST_F(NbdSourceComponentTest, Ns1ServerWithoutStructuredRepliesIsAllData) {
  const Bytes disk = patterned(3u << 20);
  const Nbdkit server(workspace_, {"--no-sr", "file", workspace_.write("disk.img", disk)});
  auto source = open(server.uri());
  ASSERT_TRUE(source.ok()) << source.error().message();
  EXPECT_FALSE((*source)->hints().has_extents);
  EXPECT_EQ(*all_extents(**source), (std::vector<Extent>{{{0, 3u << 20}, Allocation::Data}}));
  EXPECT_TRUE(*read_all(**source) == disk);
}

// libnbd takes a read for done when the server says so: the rest of the buffer is from the read
// before, and would be hashed, written and verified.
TEST_F(NbdSourceComponentTest, AnAnswerThatLeavesAPartOutIsNoAnswer) {
  const Bytes disk = patterned(2u << 20);
  const std::string image = workspace_.write("disk.img", disk);
  const struct {
    const char* mode;
    bool is_whole;
  } cases[] = {{"ok", true},     {"shuffled", true}, {"short", false},
               {"empty", false}, {"twice", false},   {"gap", false}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.mode);
    const std::string socket = workspace_.path(std::string(c.mode) + ".sock");
    const testing::Peer server({"/usr/bin/python3",
                                testing::source_dir() + "/tests/support/lying_nbd_server.py",
                                "--socket", socket, "--file", image, "--mode", c.mode});
    ASSERT_TRUE(testing::wait_for_file(socket)) << server.stderr_text();
    auto source = open("nbd+unix:///?socket=" + socket);
    ASSERT_TRUE(source.ok()) << source.error().message();
    Bytes into(disk.size(), std::byte{0xEE});
    const Result<void> read = (*source)->read(0, into, {});
    EXPECT_EQ(read.ok(), c.is_whole);
    if (read.ok()) {
      EXPECT_TRUE(into == disk);
    } else {
      EXPECT_EQ(read.error().code(), code::kSourceRead);
      EXPECT_NE(read.error().message().find("left a part out"), std::string::npos)
          << read.error().message();
    }
  }
}

TEST_F(NbdSourceComponentTest, Ns2ExtentsOneAtATimeAndBeyondTheRangeMakeACompleteMap) {
  const Nbdkit server(
      workspace_,
      {"eval", "get_size=echo 4194304", "pread=dd if=/dev/zero bs=$3 count=1", "can_extents=exit 0",
       "extents=b=$(( $4 / 1048576 * 1048576 )); if [ $(( b / 1048576 % 2 )) = 0 ]; "
       "then echo $b 1M; else echo $b 1M hole,zero; fi"});
  auto source = open(server.uri());
  ASSERT_TRUE(source.ok()) << source.error().message();
  const std::vector<Extent> expected{{{0, 1u << 20}, Allocation::Data},
                                     {{1u << 20, 1u << 20}, Allocation::Zero},
                                     {{2u << 20, 1u << 20}, Allocation::Data},
                                     {{3u << 20, 1u << 20}, Allocation::Zero}};
  EXPECT_EQ(*all_extents(**source), expected);
  auto clipped = (*source)->extents({(1u << 20) + 4096, 8192}, {});
  ASSERT_TRUE(clipped.ok());
  EXPECT_EQ(*clipped, (std::vector<Extent>{{{(1u << 20) + 4096, 8192}, Allocation::Zero}}));
}

TEST_F(NbdSourceComponentTest, Ns3FailingBlockStatusIsGivenUpAndTheDiskStillReads) {
  const Bytes disk = patterned(2u << 20);
  const Nbdkit server(workspace_, {"--filter=error", "file", workspace_.write("disk.img", disk),
                                   "error-extents=EIO", "error-extents-rate=100%"});
  auto source = open(server.uri());
  ASSERT_TRUE(source.ok()) << source.error().message();
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(*all_extents(**source), (std::vector<Extent>{{{0, 2u << 20}, Allocation::Data}}));
  }
  EXPECT_FALSE((*source)->hints().has_extents);
  EXPECT_TRUE(*read_all(**source) == disk);
}

TEST_F(NbdSourceComponentTest, Ns4HoleThatIsNotZeroIsAHole) {
  const Nbdkit server(workspace_,
                      {"eval", "get_size=echo 1048576", "pread=dd if=/dev/zero bs=$3 count=1",
                       "can_extents=exit 0", "extents=echo 0 512K hole; echo 512K 512K hole,zero"});
  auto source = open(server.uri());
  ASSERT_TRUE(source.ok()) << source.error().message();
  EXPECT_EQ(*all_extents(**source),
            (std::vector<Extent>{{{0, 512u << 10}, Allocation::Hole},
                                 {{512u << 10, 512u << 10}, Allocation::Zero}}));
}

TEST_F(NbdSourceComponentTest, Ns5MinimumBlocksAreKeptAlsoForUnalignedReads) {
  const Bytes disk = patterned((1u << 20) + 8192);
  expect_reads({"--filter=blocksize-policy"},
               {"blocksize-minimum=4096", "blocksize-preferred=4096", "blocksize-maximum=32M",
                "blocksize-error-policy=error"},
               disk);
  const Nbdkit server(workspace_, {"--filter=blocksize-policy", "file", workspace_.path("disk.img"),
                                   "blocksize-minimum=4096", "blocksize-preferred=4096",
                                   "blocksize-maximum=32M", "blocksize-error-policy=error"});
  auto source = open(server.uri());
  ASSERT_TRUE(source.ok());
  Bytes middle(1000);
  ASSERT_TRUE((*source)->read(5000, middle, {}).ok());
  EXPECT_TRUE(std::equal(middle.begin(), middle.end(), disk.begin() + 5000));
}

TEST_F(NbdSourceComponentTest, Ns5SizeThatIsNoMultipleOfTheMinimumIsRefused) {
  const Nbdkit server(
      workspace_, {"--filter=blocksize-policy", "file",
                   workspace_.write("disk.img", patterned((1u << 20) + 512)),
                   "blocksize-minimum=4096", "blocksize-preferred=4096", "blocksize-maximum=32M"});
  auto source = open(server.uri());
  ASSERT_FALSE(source.ok());
  EXPECT_EQ(source.error().code(), code::kDiskUnsupported);
}

TEST_F(NbdSourceComponentTest, Ns6And7LargeReadsAreSplitToTheAdvertisedMaximum) {
  expect_reads({"--filter=blocksize-policy"},
               {"blocksize-minimum=512", "blocksize-preferred=4096", "blocksize-maximum=64K",
                "blocksize-error-policy=error"},
               patterned((2u << 20) + 512));
  expect_reads({"--filter=blocksize-policy"},
               {"blocksize-minimum=512", "blocksize-preferred=4096", "blocksize-maximum=2M",
                "blocksize-error-policy=error"},
               patterned(9u << 20), 4u << 20);
}

TEST_F(NbdSourceComponentTest, Nr3ReadsThatTheServerFindsTooLargeAreHalved) {
  const Bytes disk = patterned(2u << 20);
  const std::string path = workspace_.write("disk.img", disk);
  const Nbdkit server(workspace_,
                      {"eval", "get_size=echo 2097152",
                       "pread=if [ $3 -gt 262144 ]; then echo EINVAL too large >&2; exit 1; fi; "
                       "dd if=" +
                           path + " bs=$3 skip=$4 count=1 iflag=skip_bytes,fullblock"});
  auto source = open(server.uri());
  ASSERT_TRUE(source.ok()) << source.error().message();
  auto read = read_all(**source, 2);
  ASSERT_TRUE(read.ok()) << read.error().message();
  EXPECT_TRUE(*read == disk);
}

TEST_F(NbdSourceComponentTest, Ns8ServerThatDiesThreeTimesIsReconnected) {
  const Bytes disk = patterned(48u << 20);
  const std::vector<std::string> arguments{"--filter=delay", "file",
                                           workspace_.write("disk.img", disk), "delay-read=15ms"};
  Nbdkit server(workspace_, arguments);
  auto source = open(server.uri());
  ASSERT_TRUE(source.ok()) << source.error().message();
  std::jthread killer([&] {
    for (int i = 0; i < 3; ++i) {
      std::this_thread::sleep_for(60ms);
      server.restart(arguments);
    }
  });
  auto read = read_all(**source, 3);
  killer.join();
  ASSERT_TRUE(read.ok()) << read.error().message();
  EXPECT_TRUE(*read == disk);
  EXPECT_GE((*source)->counters().reconnects, 1u);
}

TEST_F(NbdSourceComponentTest, Ns9ServerThatComesBackWithAnotherSizeIsRefused) {
  const std::string small = workspace_.write("small.img", patterned(1u << 20));
  const std::string large = workspace_.write("large.img", patterned(2u << 20));
  Nbdkit server(workspace_, {"file", small});
  auto source = open(server.uri());
  ASSERT_TRUE(source.ok());
  server.restart({"file", large});
  auto read = read_all(**source);
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().kind(), ErrorKind::DataLoss);
  EXPECT_EQ(read.error().code(), code::kSourceChanged);
}

TEST_F(NbdSourceComponentTest, Ns10ErrorThatPassesIsHealedAndOneThatStaysNamesTheOffset) {
  const std::string counter = workspace_.path("count");
  const std::string twice =
      "n=$(cat " + counter + " 2>/dev/null || echo 0); echo $((n+1)) > " + counter +
      "; if [ $4 -eq 1048576 ] && [ $n -lt 4 ]; then echo EIO >&2; exit 1; fi; "
      "dd if=/dev/zero bs=$3 count=1";
  {
    const Nbdkit server(workspace_, {"eval", "get_size=echo 2097152", "pread=" + twice});
    auto source = open(server.uri());
    ASSERT_TRUE(source.ok());
    auto read = read_all(**source, 1);
    ASSERT_TRUE(read.ok()) << read.error().message();
    EXPECT_GE((*source)->counters().retries, 1u);
  }
  const Nbdkit server(workspace_, {"eval", "get_size=echo 2097152",
                                   "pread=if [ $4 -ge 1048576 ]; then echo EIO >&2; exit 1; fi; dd "
                                   "if=/dev/zero bs=$3 count=1"});
  auto source = open(server.uri());
  ASSERT_TRUE(source.ok());
  auto read = read_all(**source, 1);
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().code(), code::kSourceRead);
  EXPECT_NE(read.error().message().find("1048576"), std::string::npos);
}

TEST_F(NbdSourceComponentTest, Ns11SilentServerIsGivenUpByTheWatchdog) {
  const Nbdkit server(workspace_, {"--filter=delay", "memory", "1M", "delay-read=60"});
  NbdOptions options = quick();
  options.watchdog = 200ms;
  options.reconnect_limit = 1s;
  options.workers = 2;
  auto source = open(server.uri(), options);
  ASSERT_TRUE(source.ok());
  const auto start = steady_clock::now();
  auto read = read_all(**source, 2);
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().kind(), ErrorKind::Unavailable);
  EXPECT_LT(steady_clock::now() - start, 10s);
}

TEST_F(NbdSourceComponentTest, Ns12WithoutMultiConnThereIsExactlyOneConnection) {
  const Bytes disk = patterned(16u << 20);
  const Nbdkit server(workspace_, {"--filter=multi-conn", "file",
                                   workspace_.write("disk.img", disk), "multi-conn-mode=disable"});
  auto source = open(server.uri());
  ASSERT_TRUE(source.ok());
  EXPECT_EQ((*source)->connections(), 1);
  EXPECT_TRUE(*read_all(**source, 16) == disk);
}

TEST_F(NbdSourceComponentTest, Ns14RepliesOutOfOrderFindTheirReaders) {
  const Bytes disk = patterned(12u << 20);
  const std::string path = workspace_.write("disk.img", disk);
  const Nbdkit server(workspace_, {"eval", "get_size=echo 12582912", "thread_model=echo parallel",
                                   "pread=sleep 0.$(( ($4 / 1048576 * 7) % 5 )); dd if=" + path +
                                       " bs=$3 skip=$4 count=1 iflag=skip_bytes,fullblock"});
  auto source = open(server.uri());
  ASSERT_TRUE(source.ok());
  auto read = read_all(**source, 8);
  ASSERT_TRUE(read.ok()) << read.error().message();
  EXPECT_TRUE(*read == disk);
}

TEST_F(NbdSourceComponentTest, Issue3CancelReturnsWithinTwoSecondsFromAServerThatNeverAnswers) {
  const Nbdkit server(workspace_, {"--filter=delay", "memory", "16M", "delay-read=60"});
  NbdOptions options = quick();
  options.workers = 4;
  auto source = open(server.uri(), options);
  ASSERT_TRUE(source.ok());
  std::stop_source stop;
  std::jthread stopper([&] {
    std::this_thread::sleep_for(200ms);
    stop.request_stop();
  });
  const auto start = steady_clock::now();
  auto read = read_all(**source, 8, 1u << 20, stop.get_token());
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().kind(), ErrorKind::Canceled);
  EXPECT_LT(steady_clock::now() - start, 2s);
}

TEST_F(NbdSourceComponentTest, Issue3FarServerAsksForMoreWorkers) {
  const Nbdkit far(workspace_, {"--filter=delay", "memory", "1M", "delay-read=5ms"});
  auto source = open(far.uri());
  ASSERT_TRUE(source.ok());
  EXPECT_EQ((*source)->hints().workers, 24);
}

TEST_F(NbdSourceComponentTest, EmptyDiskIsReadWithoutARequest) {
  const Nbdkit server(workspace_, {"memory", "0"});
  auto source = open(server.uri());
  ASSERT_TRUE(source.ok()) << source.error().message();
  EXPECT_EQ((*source)->size_bytes(), 0u);
  EXPECT_TRUE((*source)->read(0, {}, {}).ok());
}

TEST_F(NbdSourceComponentTest, Nr4QemuNbdTellsZerosAndAllowsOneClient) {
  if (!has_program("qemu-nbd")) GTEST_SKIP() << "needs qemu-nbd";
  const Bytes disk = patterned(4u << 20, 1, 4);
  const std::string socket = workspace_.path("qemu.sock");
  testing::Peer server({"qemu-nbd", "--read-only", "--format=raw", "--persistent",
                        "--socket=" + socket, workspace_.write("disk.img", disk)});
  ASSERT_TRUE(testing::wait_for_file(socket));
  auto source = open("nbd+unix:///?socket=" + socket);
  ASSERT_TRUE(source.ok()) << source.error().message();
  EXPECT_EQ((*source)->connections(), 1);
  EXPECT_TRUE(*read_all(**source, 8) == disk);
}

// Its answer to one read comes in pieces, holes among them; nbdkit sends it whole.
TEST_F(NbdSourceComponentTest, Nr1And5HolesWithinARequestAreReadAsZeros) {
  if (!has_program("qemu-nbd")) GTEST_SKIP() << "needs qemu-nbd";
  const std::string image = workspace_.path("sparse.img");
  ASSERT_EQ(testing::run({"truncate", "-s", "4M", image}), 0);
  {
    const UniqueFd fd(::open(image.c_str(), O_WRONLY | O_CLOEXEC));
    for (const std::uint64_t offset : {65536u, 1u << 20, (3u << 20) + 4096}) {
      ASSERT_TRUE(write_fully(fd.get(), offset, patterned(192u << 10)).ok());
    }
  }
  Bytes disk(4u << 20);
  ASSERT_TRUE(
      read_fully(UniqueFd(::open(image.c_str(), O_RDONLY | O_CLOEXEC)).get(), 0, disk).ok());
  const std::string socket = workspace_.path("qemu.sock");
  testing::Peer server({"qemu-nbd", "--read-only", "--format=raw", "--persistent", "--shared=8",
                        "--socket=" + socket, image});
  ASSERT_TRUE(testing::wait_for_file(socket));
  auto source = open("nbd+unix:///?socket=" + socket);
  ASSERT_TRUE(source.ok()) << source.error().message();
  EXPECT_EQ((*source)->connections(), 4);
  Bytes chunk(1u << 20, std::byte{0xee});  // what an earlier request left there
  for (std::uint64_t offset = 0; offset < disk.size(); offset += chunk.size()) {
    ASSERT_TRUE((*source)->read(offset, chunk, {}).ok());
    EXPECT_TRUE(std::ranges::equal(chunk, std::span(disk).subspan(offset, chunk.size())));
    std::ranges::fill(chunk, std::byte{0xee});
  }
}

TEST_F(NbdSourceComponentTest, Nr2WhateverLimitsAreToldTheRequestsStaySmallAndAligned) {
  struct Case {
    const char* told;  // minimum, preferred, maximum
    std::uint32_t min_block;
    std::uint32_t max_request;
  };
  for (const Case& c : {Case{"", 1, 2u << 20}, Case{"1 4096 33554432", 1, 2u << 20},
                        Case{"1 65536 4294967295", 1, 2u << 20},  // VDDK
                        Case{"512 4096 98304", 512, 98304}}) {
    SCOPED_TRACE(c.told);
    std::vector<std::string> arguments{"eval", "get_size=echo 4194304",
                                       "pread=dd if=/dev/zero bs=$3 count=1"};
    if (*c.told != 0) arguments.push_back(std::string("block_size=echo ") + c.told);
    const Nbdkit server(workspace_, arguments);
    auto source = open(server.uri());
    ASSERT_TRUE(source.ok()) << source.error().message();
    EXPECT_EQ((*source)->properties().min_block, c.min_block);
    EXPECT_EQ((*source)->properties().max_request, c.max_request);
    auto read = read_all(**source, 2, 4u << 20);
    ASSERT_TRUE(read.ok()) << read.error().message();
    EXPECT_TRUE(*read == Bytes(4u << 20));
  }
}

// Room for at most `spare` descriptors more than are open, as long as it lives.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t spare) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const UniqueFd lowest(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    const rlimit tight{static_cast<rlim_t>(lowest.get()) + spare, before_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  }
  ~DescriptorLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  DescriptorLimit(const DescriptorLimit&) = delete;
  DescriptorLimit& operator=(const DescriptorLimit&) = delete;

 private:
  rlimit before_{};
};

// Other disks of the same agent may hold them all for a moment.
TEST_F(NbdSourceComponentTest, AShortageOfDescriptorsIsWaitedFor) {
  const Bytes disk = patterned(4u << 20);
  const std::vector<std::string> arguments{"file", workspace_.write("disk.img", disk)};
  Nbdkit server(workspace_, arguments);
  std::optional<DescriptorLimit> limit;
  int dialed = 0;
  const NbdDial dial = [&](std::chrono::milliseconds deadline,
                           std::stop_token stop) -> Result<NbdHandle> {
    limit.reset();
    ++dialed;
    if (dialed == 2) limit.emplace(0);
    if (dialed == 3) limit.emplace(1);  // a socket, and nothing to wait for it with
    Result<NbdHandle> handle = dial_nbd(
        {.uri = {}, .unix_socket = server.socket(), .certificates_directory = {}}, deadline, stop);
    EXPECT_EQ(handle.ok(), dialed != 2 && dialed != 3) << dialed;
    if (dialed == 4) limit.emplace(0);  // a connection, and nothing to wait for its answers with
    return handle;
  };
  NbdOptions options = quick();
  options.max_connections = 1;
  const auto source = NbdSource::open(dial, {{"url", "x"}}, options, Logger(), {});
  ASSERT_TRUE(source.ok()) << to_string(source.error());
  server.restart(arguments);
  const Result<Bytes> read = read_all(**source, 1);
  ASSERT_TRUE(read.ok()) << to_string(read.error());
  EXPECT_TRUE(*read == disk);
  EXPECT_EQ(dialed, 5);
}

TEST_F(NbdSourceComponentTest, ServerThatIsNotThereIsUnreachable) {
  auto source = open("nbd://127.0.0.1:" + std::to_string(testing::free_tcp_port()));
  ASSERT_FALSE(source.ok());
  EXPECT_EQ(source.error().kind(), ErrorKind::Unavailable);
  EXPECT_EQ(source.error().code(), code::kSourceUnreachable);
}

TEST_F(NbdSourceComponentTest, ThumbprintIsRefusedAndNotIgnored) {
  auto source = open("nbds://127.0.0.1:1", quick(), {.ca_pem = {}, .thumbprint = "AA:BB"});
  ASSERT_FALSE(source.ok());
  EXPECT_EQ(source.error().kind(), ErrorKind::InvalidArgument);
}

TEST_F(NbdSourceComponentTest, Ns15CertificateIsCheckedAgainstTheGivenAuthority) {
  const testing::TestPki right(workspace_);
  const testing::TestPki wrong(workspace_, "other");
  const Bytes disk = patterned(3u << 20);
  const int port = testing::free_tcp_port();
  testing::Peer server({"nbdkit", "--foreground", "--readonly", "--exit-with-parent",
                        "--ipaddr=127.0.0.1", "--port=" + std::to_string(port), "--tls=require",
                        "--tls-certificates=" + right.directory, "file",
                        workspace_.write("disk.img", disk)});
  ASSERT_TRUE(testing::wait_for_port(port)) << server.stderr_text();
  const std::string uri = "nbds://localhost:" + std::to_string(port) + "/";

  auto trusted = open(uri, quick(), {.ca_pem = *read_file(right.ca()), .thumbprint = {}});
  ASSERT_TRUE(trusted.ok()) << trusted.error().message();
  EXPECT_TRUE(*read_all(**trusted) == disk);

  auto refused = open(uri, quick(), {.ca_pem = *read_file(wrong.ca()), .thumbprint = {}});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), code::kSourceTls) << refused.error().message();
  EXPECT_FALSE(open("nbd://localhost:" + std::to_string(port) + "/").ok()) << "plain text";
}

TEST_F(NbdSourceComponentTest, Ns15PreSharedKeyIsNeeded) {
  if (!has_program("psktool")) GTEST_SKIP() << "needs psktool";
  const std::string keys = workspace_.path("keys.psk");
  const std::string others = workspace_.path("others.psk");
  ASSERT_EQ(testing::run({"psktool", "-u", "alice", "-p", keys}), 0);
  ASSERT_EQ(testing::run({"psktool", "-u", "alice", "-p", others}), 0);
  const Bytes disk = patterned(1u << 20);
  const int port = testing::free_tcp_port();
  testing::Peer server({"nbdkit", "--foreground", "--readonly", "--exit-with-parent",
                        "--ipaddr=127.0.0.1", "--port=" + std::to_string(port), "--tls=require",
                        "--tls-psk=" + keys, "file", workspace_.write("disk.img", disk)});
  ASSERT_TRUE(testing::wait_for_port(port)) << server.stderr_text();
  const std::string base = "nbds://alice@localhost:" + std::to_string(port) + "/";

  auto source = open(base + "?tls-psk-file=" + keys);
  ASSERT_TRUE(source.ok()) << source.error().message();
  EXPECT_TRUE(*read_all(**source) == disk);
  EXPECT_FALSE(open(base + "?tls-psk-file=" + others).ok()) << "another key";
  EXPECT_FALSE(open(base).ok()) << "no key";
}

}  // namespace
}  // namespace vmferry
