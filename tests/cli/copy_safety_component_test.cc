// What `vmferry copy`, the real program, promises when things go wrong: nothing that is read is
// destroyed, damage is found, a stop is heeded, a changed source is refused.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <random>
#include <span>
#include <thread>

#include "common/fd.h"
#include "tests/cli/support/copy_program.h"
#include "tests/transfer/support/disks.h"

namespace vmferry {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using testing::Bytes;
using testing::CopyOutcome;
using testing::CopyProgram;
using ::testing::HasSubstr;
using testing::Nbdkit;
using testing::Peer;
using testing::run_copy;
using testing::TestPki;
using testing::Workspace;

class CopySafetyComponentTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!testing::has_copy_program()) GTEST_SKIP() << "needs the program vmferry";
    if (!testing::has_program("nbdkit")) GTEST_SKIP() << "needs nbdkit";
    disk_path_ = workspace_.write("disk.img", disk_);
  }

  void wait_until_target_begins_with(std::span<const std::byte> beginning) {
    const auto deadline = std::chrono::steady_clock::now() + 60s;
    const auto has_begun = [&] {
      Bytes bytes(beginning.size());
      const UniqueFd fd(::open(target_.c_str(), O_RDONLY | O_CLOEXEC));
      return fd.get() >= 0 && read_fully(fd.get(), 0, bytes).ok() &&
             std::ranges::equal(bytes, beginning);
    };
    while (!has_begun()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "nothing is copied";
      std::this_thread::sleep_for(20ms);
    }
  }

  Workspace workspace_;
  const Bytes disk_ = testing::patterned((6u << 20) + 4096 + 512, 3, 8);
  std::string disk_path_;
  const std::string target_ = workspace_.path("target.img");
};

TEST_F(CopySafetyComponentTest, NothingThatIsReadIsEverDestroyed) {
  const std::string link = workspace_.path("link.img");
  std::filesystem::create_hard_link(disk_path_, link);
  const std::string symbolic = workspace_.path("symbolic.img");
  std::filesystem::create_symlink(disk_path_, symbolic);
  const std::string letter = workspace_.write("letter.txt", std::string(100'000, 'x'));
  struct Case {
    const char* name;
    std::vector<std::string> words;
    const char* text;
  };
  const Case cases[] = {
      {"onto itself", {disk_path_, disk_path_}, "are the same"},
      {"by another name", {"file://" + disk_path_, link}, "are the same"},
      {"through a link", {symbolic, disk_path_}, "are the same"},
      {"a command's file", {"[", "nbdkit", "file", disk_path_, "]", link}, "are the same"},
      {"its parameter", {"[", "nbdkit", "file", "file=" + disk_path_, "]", link}, "are the same"},
      {"journal is the source", {disk_path_, target_, "--journal", link}, "is the source"},
      {"journal is the target", {link, letter, "--journal", letter}, "is the target"},
      {"journal is something else", {disk_path_, target_, "--journal", letter}, "is no journal"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const CopyOutcome outcome = run_copy(workspace_, c.words);
    EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(c.text));
    EXPECT_TRUE(testing::read_whole(disk_path_, disk_.size()) == disk_);
    EXPECT_EQ(*read_file(letter, 200'000), std::string(100'000, 'x'));
    EXPECT_FALSE(std::filesystem::exists(target_));
  }
}

// The journal knows what the target should hold: a later run reads all of its data back, and makes
// zero again what is a hole of the source before anybody could tell that it was none.
TEST_F(CopySafetyComponentTest, AFlippedBitIsToldWithItsOffsetAmongDataAndMendedUntoldAmongHoles) {
  const std::string image = workspace_.path("sparse.img");
  ASSERT_EQ(testing::run({"truncate", "-s", "24M", image}), 0);
  {
    const UniqueFd fd(::open(image.c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_TRUE(write_fully(fd.get(), 5u << 20, testing::patterned(7u << 20, 4)).ok());
  }
  const Bytes disk = testing::read_whole(image, 24u << 20);
  const std::vector<std::string> words{image, target_, "--journal", workspace_.path("journal"),
                                       "--json"};
  ASSERT_EQ(run_copy(workspace_, words).exit_code, 0);
  std::mt19937_64 random(std::random_device{}());
  for (int round = 0; round < 12; ++round) {
    // In turns among the data, and among what is a hole on both sides: that is made zero again.
    const bool among_data = round % 2 == 0;
    const std::uint64_t offset =
        among_data ? (5u << 20) + random() % (7u << 20) : (12u << 20) + random() % (12u << 20);
    const std::byte mask{static_cast<unsigned char>(1u << random() % 8)};
    SCOPED_TRACE(offset);
    {
      const UniqueFd fd(::open(target_.c_str(), O_WRONLY | O_CLOEXEC));
      ASSERT_TRUE(write_fully(fd.get(), offset, Bytes{disk[offset] ^ mask}).ok());
    }
    const CopyOutcome outcome = run_copy(workspace_, words);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    const std::vector<std::uint64_t> told =
        among_data ? std::vector{offset} : std::vector<std::uint64_t>();
    EXPECT_EQ(outcome.figures().value("repaired_offsets", std::vector<std::uint64_t>{1}), told);
    EXPECT_TRUE(testing::read_whole(target_, disk.size()) == disk);
  }
}

TEST_F(CopySafetyComponentTest, InterruptedItSavesTheJournalAndGoesOn) {
  const Bytes disk = testing::patterned(48u << 20, 9);
  workspace_.write("disk.img", disk);
  const std::vector<std::string> words{disk_path_, target_, "--journal",
                                       workspace_.path("copy.journal"), "--json"};
  std::vector<std::string> slow = words;
  slow.insert(slow.end(), {"--limit", "12M", "--progress"});
  CopyProgram first(workspace_, slow);
  first.wait_until_it_says("MiB/s");  // after two seconds of copying
  const auto begin = std::chrono::steady_clock::now();
  first.signal(SIGINT);
  const CopyOutcome stopped = first.wait();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 2s);
  EXPECT_EQ(stopped.exit_code, 130) << stopped.err;
  EXPECT_THAT(stopped.err, HasSubstr("the journal is saved"));
  const CopyOutcome resumed = run_copy(workspace_, words);
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_GT(resumed.figures().value("resumed_bytes", 0u), 8u << 20);
  EXPECT_TRUE(testing::read_whole(target_, disk.size()) == disk);
  // Done is done: nothing is read again, and what was recorded is compared with the target.
  const CopyOutcome again = run_copy(workspace_, words);
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(again.figures().value("resumed_bytes", 0u), disk.size());
}

TEST_F(CopySafetyComponentTest, CancelReturnsWithinTwoSecondsWhateverTheServerDoes) {
  const TestPki pki(workspace_);
  // A listener that never says a word: handshakes of TCP succeed, nothing else does.
  Peer silent({"/usr/bin/python3", "-c",
               "import socket,sys,time\n"
               "s=socket.socket(); s.bind(('127.0.0.1',0)); s.listen(64)\n"
               "open(sys.argv[1]+'.new','w').write(str(s.getsockname()[1]))\n"
               "import os; os.rename(sys.argv[1]+'.new',sys.argv[1])\n"
               "time.sleep(600)\n",
               workspace_.path("silent.port")});
  ASSERT_TRUE(testing::wait_for_file(workspace_.path("silent.port")));
  const std::string port = *read_file(workspace_.path("silent.port"));
  const Nbdkit frozen(workspace_, {"--filter=delay", "file", disk_path_, "delay-read=300"});
  const testing::TlsFileServer hanging(workspace_, pki, disk_path_);
  const std::pair<const char*, std::vector<std::string>> cases[] = {
      {"NBD handshake", {"nbd://localhost:" + port}},
      {"NBD TLS handshake", {"nbds://localhost:" + port, "--cacert", pki.ca()}},
      {"HTTPS handshake", {"https://localhost:" + port + "/x", "--cacert", pki.ca()}},
      {"imageio handshake",
       {"--imageio", "https://localhost:" + port + "/images/x", "--cacert", pki.ca()}},
      {"NBD read", {frozen.uri()}},
      {"HTTPS read", {hanging.url("hang"), "--cacert", pki.ca()}},
      {"HTTPS stream", {hanging.url("ignorerange+hang"), "--cacert", pki.ca()}},
      {"HTTPS bytes that drip", {hanging.url("drip"), "--cacert", pki.ca()}},
      {"HTTPS refusals", {hanging.url("s503"), "--cacert", pki.ca()}},
      {"imageio extents", {"--imageio", hanging.image_url("hangextents"), "--cacert", pki.ca()}},
      {"imageio read", {"--imageio", hanging.image_url("hang"), "--cacert", pki.ca()}},
      {"imageio checksum",
       {"--imageio", hanging.image_url("hangchecksum"), "--compare-source", "--cacert", pki.ca()}},
      {"command that never listens", {"[", "sh", "-c", "exec sleep 600", "{socket}", "]"}},
  };
  for (const auto& [name, source] : cases) {
    SCOPED_TRACE(name);
    std::vector<std::string> words = source;
    words.insert(words.end(), {target_, "--journal", workspace_.path("cancel.journal")});
    CopyProgram program(workspace_, words);
    std::this_thread::sleep_for(700ms);
    const auto begin = std::chrono::steady_clock::now();
    program.signal(SIGTERM);
    const CopyOutcome outcome = program.wait();
    const auto took = std::chrono::steady_clock::now() - begin;
    EXPECT_EQ(outcome.exit_code, 130) << outcome.err;
    EXPECT_LT(took, 2s);
  }
}

TEST_F(CopySafetyComponentTest, CancelReturnsWithinTwoSecondsFromAServerThatFreezesOrLeaves) {
  for (const int fate : {SIGSTOP, SIGKILL}) {
    SCOPED_TRACE(fate);
    const std::string socket = workspace_.path("fate.sock");
    std::filesystem::remove(socket);
    const Peer server({"nbdkit", "--foreground", "--readonly", "--exit-with-parent", "--unix",
                       socket, "--filter=rate", "file", disk_path_, "rate=4M"});
    ASSERT_TRUE(testing::wait_for_file(socket)) << server.stderr_text();
    CopyProgram program(workspace_, {"nbd+unix:///?socket=" + socket, target_});
    std::this_thread::sleep_for(400ms);
    ::kill(server.pid(), fate);
    std::this_thread::sleep_for(400ms);  // it waits for an answer, or tries to connect again
    const auto begin = std::chrono::steady_clock::now();
    program.signal(SIGTERM);
    const CopyOutcome outcome = program.wait();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 2s);
    EXPECT_EQ(outcome.exit_code, 130) << outcome.err;
  }
}

TEST_F(CopySafetyComponentTest, Ns28ASourceThatChangedIsRefusedAndItsIdentityNamed) {
  const Bytes first = testing::patterned(32u << 20, 9);
  Bytes second = first;
  second[1000] ^= std::byte{1};  // in the first sample
  const std::string journal = workspace_.path("copy.journal");
  const std::string image = workspace_.write("served.img", first);
  Nbdkit server(workspace_, {"file", image});
  const TestPki pki(workspace_);
  const testing::TlsFileServer web(workspace_, pki, image);
  const std::vector<std::string> slow{"--limit", "10M"};
  struct Case {
    const char* name;
    std::vector<std::string> source;
    std::vector<std::string> first_time;  // what makes it last
    std::vector<std::string> later;       // empty: the same source
  };
  const Case cases[] = {
      {"NBD export", {server.uri()}, slow, {}},
      {"command", {"[", "nbdkit", "file", image, "]"}, slow, {}},
      {"file", {image}, slow, {}},
      {"HTTPS file without ETag and date",
       {web.url("reread+anonymous+hanghalf"), "--cacert", pki.ca()},
       {},
       {}},
      {"another imageio ticket",
       {"--imageio", web.image_url("reread+hanghalf"), "--cacert", pki.ca()},
       {},
       {"--imageio", web.image_url("reread"), "--cacert", pki.ca()}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    std::filesystem::remove(journal);
    std::filesystem::remove(target_);
    workspace_.write("served.img", first);
    std::vector<std::string> words = c.source;
    words.insert(words.end(), {target_, "--journal", journal, "--json"});
    words.insert(words.end(), c.first_time.begin(), c.first_time.end());
    workspace_.write("served.img.hang", std::string("from the middle on"));
    CopyProgram program(workspace_, words);
    wait_until_target_begins_with(std::span(first).first(1u << 20));
    program.signal(SIGINT);
    EXPECT_EQ(program.wait().exit_code, 130);
    std::filesystem::remove(workspace_.path("served.img.hang"));

    words = c.later.empty() ? c.source : c.later;
    words.insert(words.end(), {target_, "--journal", journal, "--json"});
    const Bytes before = testing::read_whole(target_, first.size());
    workspace_.write("served.img", second);
    const CopyOutcome refused = run_copy(workspace_, words);
    EXPECT_EQ(refused.exit_code, 1);
    EXPECT_THAT(refused.err, HasSubstr("VMF-SRC-CHANGED"));
    EXPECT_THAT(refused.err, AllOf(HasSubstr("source "), HasSubstr("changed from")));
    EXPECT_THAT(refused.err, HasSubstr("--start-over"));
    EXPECT_TRUE(testing::read_whole(target_, first.size()) == before) << "is as it was";

    words.push_back("--start-over");
    const CopyOutcome outcome = run_copy(workspace_, words);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("starting over: source"));
    EXPECT_EQ(outcome.figures().value("resumed_bytes", 1u), 0u);
    EXPECT_TRUE(testing::read_whole(target_, second.size()) == second);
  }
}

}  // namespace
}  // namespace vmferry
