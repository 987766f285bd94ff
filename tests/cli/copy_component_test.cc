// `vmferry copy`, the real program, from every kind of source to every kind of target.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <thread>

#include "common/bytes.h"
#include "common/fd.h"
#include "tests/cli/support/copy_program.h"
#include "tests/transfer/support/disks.h"
#include "transfer/copy.h"

namespace vmferry {
namespace {

using namespace std::chrono_literals;
using testing::Bytes;
using testing::CopyOutcome;
using testing::CopyProgram;
using testing::has_program;
using ::testing::HasSubstr;
using testing::Nbdkit;
using testing::Peer;
using testing::run_copy;
using testing::TestPki;
using testing::Workspace;

class CopyComponentTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!testing::has_copy_program()) GTEST_SKIP() << "needs the program vmferry";
    if (!has_program("nbdkit")) GTEST_SKIP() << "needs nbdkit";
    disk_path_ = workspace_.write("disk.img", disk_);
  }
  void expect_copied(std::vector<std::string> words, const std::string& what) {
    SCOPED_TRACE(what);
    std::filesystem::remove(target_);
    words.push_back(target_);
    words.push_back("--json");
    const CopyOutcome outcome = run_copy(workspace_, words);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_TRUE(testing::read_whole(target_, disk_.size()) == disk_);
    const nlohmann::json figures = outcome.figures();
    EXPECT_EQ(figures.value("bytes_virtual", 0u), disk_.size()) << outcome.out;
    EXPECT_TRUE(figures.value("verified", false));
    EXPECT_EQ(figures.value("digest", ""),
              testing::reference_digest(disk_, HashAlgorithm::Xxh3_128));
  }
  std::unique_ptr<Peer> nbdkit_on(int port, const std::vector<std::string>& options) {
    std::vector<std::string> command{"nbdkit",
                                     "--foreground",
                                     "--readonly",
                                     "--exit-with-parent",
                                     "--ipaddr=127.0.0.1",
                                     "--port=" + std::to_string(port)};
    command.insert(command.end(), options.begin(), options.end());
    command.insert(command.end(), {"file", disk_path_});
    auto server = std::make_unique<Peer>(command);
    EXPECT_TRUE(testing::wait_for_port(port)) << server->stderr_text();
    return server;
  }

  Workspace workspace_;
  const Bytes disk_ = testing::patterned((6u << 20) + 4096 + 512, 3, 8);
  std::string disk_path_;
  const std::string target_ = workspace_.path("target.img");
};

TEST_F(CopyComponentTest, CopiesFromNbdOverTcpAndUnixSockets) {
  const int port = testing::free_tcp_port();
  const auto tcp = nbdkit_on(port, {});
  expect_copied({"nbd://localhost:" + std::to_string(port)}, "nbd");
  const Nbdkit unix_socket(workspace_, {"file", disk_path_});
  expect_copied({unix_socket.uri()}, "nbd+unix");
}

TEST_F(CopyComponentTest, CopiesFromNbdOverTlsWithCertificateOrKey) {
  const TestPki pki(workspace_);
  const TestPki other(workspace_, "other");
  const int port = testing::free_tcp_port();
  const auto x509 = nbdkit_on(port, {"--tls=require", "--tls-certificates=" + pki.directory});
  const std::string uri = "nbds://localhost:" + std::to_string(port);
  expect_copied({uri, "--cacert", pki.ca()}, "x509");
  const CopyOutcome refused =
      run_copy(workspace_, {uri, "--cacert", other.ca(), workspace_.path("no.img")});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("VMF-SRC-TLS"));
  EXPECT_FALSE(std::filesystem::exists(workspace_.path("no.img"))) << "fails before any data";

  if (!has_program("psktool")) GTEST_SKIP() << "needs psktool";
  const std::string keys = workspace_.path("keys.psk");
  ASSERT_EQ(testing::run({"psktool", "-u", "alice", "-p", keys}), 0);
  const int psk_port = testing::free_tcp_port();
  const auto psk = nbdkit_on(psk_port, {"--tls=require", "--tls-psk=" + keys});
  expect_copied({"nbds://alice@localhost:" + std::to_string(psk_port) + "/?tls-psk-file=" + keys},
                "psk");
}

TEST_F(CopyComponentTest, CopiesFromHttpsRangesWithAuthorityOrThumbprint) {
  const TestPki pki(workspace_);
  const testing::TlsFileServer server(workspace_, pki, disk_path_);
  expect_copied({server.url("ok"), "--cacert", pki.ca()}, "authority");
  expect_copied({server.url("ok"), "--thumbprint", pki.thumbprint()}, "thumbprint");
  expect_copied({server.url("truncate+s503twice"), "--cacert", pki.ca()}, "stumbles");
  expect_copied({server.url("ignorerange"), "--cacert", pki.ca()}, "without ranges");
  std::string wrong = pki.thumbprint();
  wrong[0] = wrong[0] == 'A' ? 'B' : 'A';
  for (const std::vector<std::string>& trust :
       {std::vector<std::string>{}, std::vector<std::string>{"--thumbprint", wrong}}) {
    std::vector<std::string> words{server.url("ok"), workspace_.path("no.img")};
    words.insert(words.end(), trust.begin(), trust.end());
    const CopyOutcome refused = run_copy(workspace_, words);
    EXPECT_EQ(refused.exit_code, 1);
    EXPECT_THAT(refused.err, HasSubstr("VMF-SRC-TLS"));
  }
}

TEST_F(CopyComponentTest, CopiesFromAFileAndFromCommands) {
  expect_copied({disk_path_}, "file");
  expect_copied({"file://" + disk_path_}, "file URL");
  expect_copied({"[", "nbdkit", "file", disk_path_, "]"}, "nbdkit");
  expect_copied({"[", "nbdkit", "--filter=delay", "file", disk_path_, "delay-read=1ms", "]"},
                "nbdkit with options");
  if (has_program("qemu-nbd")) {
    expect_copied({"[", "qemu-nbd", "-f", "raw", disk_path_, "]"}, "qemu-nbd");
    const std::string image = workspace_.path("disk.qcow2");
    ASSERT_EQ(testing::run({"qemu-img", "convert", "-O", "qcow2", disk_path_, image}), 0);
    expect_copied({"[", "qemu-nbd", "-f", "qcow2", image, "]"}, "qcow2");
  }
}

TEST_F(CopyComponentTest, CopiesToABlockDeviceAndToNull) {
  const CopyOutcome null = run_copy(workspace_, {disk_path_, "null:", "--json"});
  EXPECT_EQ(null.exit_code, 0) << null.err;
  EXPECT_FALSE(null.figures().value("verified", true));
  EXPECT_EQ(null.figures().value("digest", ""),
            testing::reference_digest(disk_, HashAlgorithm::Xxh3_128));

  const auto loop = testing::LoopDevice::create(8u << 20);
  if (loop == nullptr) GTEST_SKIP() << "needs a loop device (root)";
  loop->fill(std::byte{0xff}, 8u << 20);
  const CopyOutcome device = run_copy(workspace_, {disk_path_, loop->device(), "--json"});
  ASSERT_EQ(device.exit_code, 0) << device.err;
  EXPECT_TRUE(device.figures().value("verified", false));
  EXPECT_TRUE(testing::read_whole(loop->device(), disk_.size()) == disk_);
}

TEST_F(CopyComponentTest, JsonIsOneLineOfTheFigures) {
  const CopyOutcome outcome =
      run_copy(workspace_, {disk_path_, target_, "--json", "--progress", "--workers", "2"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(std::ranges::count(outcome.out, '\n'), 1);
  const nlohmann::json figures = outcome.figures();
  for (const char* name : {"bytes_virtual", "bytes_data", "bytes_zero", "seconds", "mib_per_second",
                           "cpu_seconds", "resumed_bytes", "retries", "reconnects"}) {
    EXPECT_TRUE(figures.contains(name) && figures[name].is_number()) << name << outcome.out;
  }
  EXPECT_TRUE(figures["digest"].is_string());
  EXPECT_TRUE(figures["verified"].is_boolean());
  EXPECT_GE(figures["bytes_data"].get<std::uint64_t>() + figures["bytes_zero"].get<std::uint64_t>(),
            disk_.size());
  const CopyOutcome text = run_copy(workspace_, {disk_path_, target_, "--hash", "sha256"});
  EXPECT_THAT(text.out, HasSubstr(testing::reference_digest(disk_, HashAlgorithm::Sha256)));
  const CopyOutcome unverified = run_copy(workspace_, {disk_path_, target_, "--no-verify"});
  EXPECT_THAT(unverified.out, HasSubstr("target not read back"));
}

TEST_F(CopyComponentTest, HelpHasExamplesAndWrongWordsAreBadInput) {
  const CopyOutcome help = run_copy(workspace_, {"--help"});
  EXPECT_EQ(help.exit_code, 0);
  for (const char* word : {"Examples:", "--journal", "--limit", "--workers", "--cacert",
                           "--thumbprint", "--imageio", "--progress", "--json", "null:"}) {
    EXPECT_THAT(help.out, HasSubstr(word));
  }
  struct Case {
    const char* name;
    std::vector<std::string> words;
    int exit_code;
    const char* text;
  };
  const std::string missing = workspace_.path("missing.img");
  const std::string no_certificate = workspace_.write("ca.pem", std::string("nothing\n"));
  const Case cases[] = {
      {"no target", {disk_path_}, 3, "SOURCE and a TARGET"},
      {"unknown scheme", {"ftp://host/disk", target_}, 3, "known are nbd://"},
      {"target is a URL", {disk_path_, "nbd://host/"}, 3, "known are a file"},
      {"half a bracket", {"[", "nbdkit", "file", disk_path_, target_}, 3, "brackets"},
      {"bad limit", {disk_path_, target_, "--limit", "fast"}, 3, "fast"},
      {"bad CA",
       {"https://localhost/x", target_, "--cacert", no_certificate},
       3,
       "the CA is neither"},
      {"no source", {missing, target_}, 1, "VMF-SRC-DISK-MISSING"},
      {"no server", {"nbd+unix:///?socket=" + missing, target_}, 1, "VMF-SRC-UNREACHABLE"},
      {"no program", {"[", "/no/such/program", "{socket}", "]", target_}, 1, "not installed"},
      {"command that ends", {"[", "nbdkit", "no-such-plugin", "]", target_}, 1, "no-such-plugin"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const CopyOutcome outcome = run_copy(workspace_, c.words);
    EXPECT_EQ(outcome.exit_code, c.exit_code) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(c.text));
    EXPECT_FALSE(std::filesystem::exists(target_));
  }
}

TEST_F(CopyComponentTest, LimitHolds) {
  const auto begin = std::chrono::steady_clock::now();
  const CopyOutcome outcome =
      run_copy(workspace_, {disk_path_, target_, "--limit", "3M", "--json", "--no-verify"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  // Six MiB but for the zeros; a bucket's worth passes at once.
  EXPECT_GT(std::chrono::steady_clock::now() - begin, 1s);
}

TEST_F(CopyComponentTest, InterruptedItSavesTheJournalAndGoesOn) {
  const Bytes disk = testing::patterned(48u << 20, 9);
  workspace_.write("disk.img", disk);
  const std::vector<std::string> words{disk_path_, target_, "--journal",
                                       workspace_.path("copy.journal"), "--json"};
  std::vector<std::string> slow = words;
  slow.insert(slow.end(), {"--limit", "12M"});
  CopyProgram first(workspace_, slow);
  std::this_thread::sleep_for(1500ms);
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

TEST_F(CopyComponentTest, CancelReturnsWithinTwoSecondsWhateverTheServerDoes) {
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

TEST_F(CopyComponentTest, ASourceThatChangedBetweenAttemptsIsNoticed) {
  const Bytes first = testing::patterned(32u << 20, 9);
  Bytes second = first;
  second[1000] ^= std::byte{1};  // in the first sample
  const std::string journal = workspace_.path("copy.journal");
  const std::string image = workspace_.write("served.img", first);
  Nbdkit server(workspace_, {"file", image});
  const std::vector<std::pair<const char*, std::vector<std::string>>> sources = {
      {"NBD export", {server.uri()}},
      {"command", {"[", "nbdkit", "file", image, "]"}},
      {"file", {image}},
  };
  for (const auto& [name, source] : sources) {
    SCOPED_TRACE(name);
    std::filesystem::remove(journal);
    std::filesystem::remove(target_);
    workspace_.write("served.img", first);
    std::vector<std::string> words = source;
    words.insert(words.end(), {target_, "--journal", journal, "--json"});
    std::vector<std::string> slow = words;
    slow.insert(slow.end(), {"--limit", "10M"});
    CopyProgram program(workspace_, slow);
    std::this_thread::sleep_for(1200ms);
    program.signal(SIGINT);
    EXPECT_EQ(program.wait().exit_code, 130);

    workspace_.write("served.img", second);
    const CopyOutcome outcome = run_copy(workspace_, words);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("starting over: source"));
    EXPECT_THAT(outcome.err, HasSubstr("changed from"));
    EXPECT_EQ(outcome.figures().value("resumed_bytes", 1u), 0u);
    EXPECT_TRUE(testing::read_whole(target_, second.size()) == second);
  }
}

}  // namespace
}  // namespace vmferry
