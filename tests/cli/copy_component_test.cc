// `vmferry copy`, the real program, from every kind of source to every kind of target.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>

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

TEST_F(CopyComponentTest, Nr12CopiesFromHttpsRangesWithAuthorityOrThumbprint) {
  const TestPki pki(workspace_);
  const testing::TlsFileServer server(workspace_, pki, disk_path_);
  expect_copied({server.url("ok"), "--cacert", pki.ca()}, "authority");
  expect_copied({server.url("ok"), "--thumbprint", pki.thumbprint()}, "thumbprint");
  expect_copied({server.url("truncate+s503twice"), "--cacert", pki.ca()}, "stumbles");
  // None of these says goodbye before it closes.
  for (const char* mode : {"idleclose", "closewhole"}) {
    expect_copied({server.url(mode), "--cacert", pki.ca()}, mode);
  }
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

TEST_F(CopyComponentTest, CopiesFromAnImageTicketAndComparesTheServersDigest) {
  const TestPki pki(workspace_);
  const testing::TlsFileServer server(workspace_, pki, disk_path_);
  const auto words_of = [&](const char* mode, std::vector<std::string> more) {
    std::vector<std::string> words{
        "--imageio", server.image_url(mode), target_, "--cacert", pki.ca(), "--json"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  struct Case {
    const char* mode;
    std::vector<std::string> more;
    bool matched;
  };
  for (const Case& c : {Case{"ok", {}, false}, Case{"ok", {"--compare-source"}, true},
                        Case{"truncate+s503twice+readers2", {"--compare-source"}, true}}) {
    SCOPED_TRACE(c.mode);
    const CopyOutcome outcome = run_copy(workspace_, words_of(c.mode, c.more));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(outcome.figures().value("source_digest_matched", !c.matched), c.matched);
    EXPECT_EQ(outcome.figures().value("digest", ""),
              testing::reference_digest(
                  disk_, c.more.empty() ? HashAlgorithm::Xxh3_128 : HashAlgorithm::Sha256));
    EXPECT_TRUE(testing::read_whole(target_, disk_.size()) == disk_);
  }
  // Who asks for the comparison is not told that all is well without it.
  const CopyOutcome none = run_copy(workspace_, words_of("nochecksum", {"--compare-source"}));
  EXPECT_EQ(none.exit_code, 1);
  EXPECT_THAT(none.err, HasSubstr("gave no digest"));
  const CopyOutcome wrong = run_copy(workspace_, words_of("wrongchecksum", {"--compare-source"}));
  EXPECT_EQ(wrong.exit_code, 1);
  EXPECT_THAT(wrong.err, HasSubstr("VMF-XFER-VERIFY-FAILED"));
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
    const CopyOutcome as_it_is = run_copy(workspace_, {image, "null:"});
    EXPECT_EQ(as_it_is.exit_code, 0) << as_it_is.err;
    EXPECT_THAT(as_it_is.err, HasSubstr("the source is a qcow2 image"));
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

// A device has no mark of what was written to it, and a journal may be given for another one.
TEST_F(CopyComponentTest, AJournalIsNotBelievedOfADeviceThatHoldsSomethingElse) {
  const auto loop = testing::LoopDevice::create(8u << 20);
  if (loop == nullptr) GTEST_SKIP() << "needs a loop device (root)";
  const std::vector<std::string> words{disk_path_,    loop->device(),
                                       "--journal",   workspace_.path("device.journal"),
                                       "--no-verify", "--json"};
  ASSERT_EQ(run_copy(workspace_, words).exit_code, 0);
  const CopyOutcome again = run_copy(workspace_, words);
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(again.figures().value("resumed_bytes", 0u), disk_.size());
  loop->fill(std::byte{0xee}, 8u << 20);
  const CopyOutcome other = run_copy(workspace_, words);
  ASSERT_EQ(other.exit_code, 0) << other.err;
  EXPECT_THAT(other.err, HasSubstr("does not hold what the journal says"));
  EXPECT_EQ(other.figures().value("resumed_bytes", 1u), 0u);
  EXPECT_TRUE(testing::read_whole(loop->device(), disk_.size()) == disk_);
}

TEST_F(CopyComponentTest, JsonIsOneLineOfTheFigures) {
  const CopyOutcome outcome =
      run_copy(workspace_, {disk_path_, target_, "--json", "--progress", "--workers", "2"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(std::ranges::count(outcome.out, '\n'), 1);
  const nlohmann::json figures = outcome.figures();
  for (const char* name :
       {"bytes_virtual", "bytes_data", "bytes_zero", "seconds", "mib_per_second", "cpu_seconds",
        "resumed_bytes", "retries", "reconnects", "requests", "wire_bytes"}) {
    EXPECT_TRUE(figures.contains(name) && figures[name].is_number()) << name << outcome.out;
  }
  EXPECT_TRUE(figures["digest"].is_string());
  EXPECT_TRUE(figures["verified"].is_boolean());
  EXPECT_TRUE(figures["repaired_offsets"].is_array());
  EXPECT_TRUE(figures["last_error"].is_string());
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
      {"bad limit file", {disk_path_, target_, "--limit-file", no_certificate}, 3, "nothing"},
      {"no limit file", {disk_path_, target_, "--limit-file", missing}, 1, "missing.img"},
      {"two limits",
       {disk_path_, target_, "--limit", "1M", "--limit-file", disk_path_},
       3,
       "limit"},
      {"no digest to compare", {disk_path_, target_, "--compare-source"}, 3, "--imageio"},
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

TEST_F(CopyComponentTest, TheLimitChangesWithItsFileWhileTheCopyRuns) {
  const std::string rate = workspace_.write("rate", std::string("16K\n"));
  CopyProgram copy(workspace_, {disk_path_, target_, "--limit-file", rate, "--progress"});
  copy.wait_until_it_says("Copying");
  workspace_.write("rate", std::string(""));  // as a shell leaves it for a moment
  copy.wait_until_it_says("is empty");
  workspace_.write("rate", std::string("fast"));
  copy.wait_until_it_says("the limit stays as it is");
  workspace_.write("rate", std::string("off"));
  const CopyOutcome outcome = copy.wait();  // at 16 KiB/s it would take six minutes
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_TRUE(testing::read_whole(target_, disk_.size()) == disk_);
}

TEST_F(CopyComponentTest, AnEmptyLimitFileLimitsNothingYet) {
  const std::string rate = workspace_.write("rate", std::string(""));
  const CopyOutcome outcome =
      run_copy(workspace_, {disk_path_, target_, "--limit-file", rate, "--json"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("no limit until it says one"));
}

TEST_F(CopyComponentTest, AFailureIsALineOfJsonToo) {
  const CopyOutcome outcome =
      run_copy(workspace_, {"nbd+unix:///?socket=" + workspace_.path("nobody"), target_, "--json"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_EQ(outcome.figures()["error"].value("code", ""), "VMF-SRC-UNREACHABLE") << outcome.out;
  EXPECT_EQ(std::ranges::count(outcome.out, '\n'), 1);
}

TEST_F(CopyComponentTest, ACommandThatEndsInTheMiddleEndsTheCopySoon) {
  const auto begin = std::chrono::steady_clock::now();
  const CopyOutcome outcome =
      run_copy(workspace_,
               {"[", "timeout", "-s", "KILL", "1", "nbdkit", "--foreground", "--unix", "{socket}",
                "--filter=delay", "file", disk_path_, "delay-read=500ms", "]", target_});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("while its disk was read"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 60s);  // a server elsewhere may come back
}

TEST_F(CopyComponentTest, CopiesAStreamOptimizedVmdkFromAServer) {
  if (!has_program("qemu-img")) GTEST_SKIP() << "needs qemu-img";
  const std::string vmdk = workspace_.path("disk.vmdk");
  ASSERT_EQ(testing::run({"qemu-img", "convert", "-O", "vmdk", "-o", "subformat=streamOptimized",
                          disk_path_, vmdk}),
            0);
  const TestPki pki(workspace_);
  const testing::TlsFileServer server(workspace_, pki, vmdk);
  expect_copied({"--vmdk-stream", server.url("ok"), "--cacert", pki.ca()}, "stream");
  const CopyOutcome outcome =
      run_copy(workspace_, {"--vmdk-stream", server.url("ok"), target_, "--cacert", pki.ca(),
                            "--journal", workspace_.path("journal")});
  EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("leave out --journal"));
}

}  // namespace
}  // namespace vmferry
