// The nbdkit child with a stand-in for VDDK. Rows are those of source-vmware.md 10.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "common/catalogue.h"
#include "common/fd.h"
#include "tests/transfer/support/source_peers.h"
#include "transfer/sources/nbdkit.h"
#include "transfer/sources/nbdkit_probe.h"

namespace vmferry {
namespace {

using namespace std::chrono_literals;
using testing::Bytes;
using testing::patterned;
using testing::read_all;
using testing::Workspace;

class NbdkitSourceComponentTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!testing::has_program("nbdkit")) GTEST_SKIP() << "needs nbdkit";
    std::filesystem::create_directory(workspace_.path("scratch"));
    environment_.scratch_directory = workspace_.path("scratch");
    environment_.vddk_stand_in = {"file", workspace_.path("{path}")};
    workspace_.write("disk.img", disk_);
    endpoint_.kind = SourceKind::NbdkitVddk;
    endpoint_.vddk.file = "[store] disk.img";
    endpoint_.vddk.password = SecretString("s3cr3t");
    options_.nbd.reconnect = {.first = 10ms, .cap = 50ms};
    options_.stop_grace = 2s;
  }
  // The child's process id, from its pidfile.
  pid_t child() {
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(workspace_.path("scratch"))) {
      if (entry.path().extension() == ".pid") return std::stoi(*read_file(entry.path()));
    }
    return -1;
  }
  Workspace workspace_;
  const Bytes disk_ = patterned((24u << 20) + 512);
  DiskEndpoint endpoint_;
  SourceEnvironment environment_;
  NbdkitOptions options_;
};

TEST_F(NbdkitSourceComponentTest, ReadsTheDiskAndEndsTheChild) {
  pid_t pid = -1;
  {
    auto source = open_nbdkit_source(endpoint_, environment_, options_, {});
    ASSERT_TRUE(source.ok()) << source.error().message();
    EXPECT_EQ((*source)->hints().workers, 8);
    EXPECT_TRUE(*read_all(**source, 8) == disk_);
    pid = child();
    ASSERT_GT(pid, 0);
    EXPECT_EQ(::kill(pid, 0), 0);
  }
  EXPECT_NE(::kill(pid, 0), 0);
  EXPECT_TRUE(std::filesystem::is_empty(workspace_.path("scratch")));
}

TEST_F(NbdkitSourceComponentTest, Vsrc47ChildThatDiesIsRestartedAndTheBytesAreTheSame) {
  environment_.vddk_stand_in.insert(environment_.vddk_stand_in.begin(), "--filter=delay");
  environment_.vddk_stand_in.emplace_back("delay-read=20ms");
  auto source = open_nbdkit_source(endpoint_, environment_, options_, {});
  ASSERT_TRUE(source.ok()) << source.error().message();
  std::jthread killer([&] {
    for (int i = 0; i < 2; ++i) {
      std::this_thread::sleep_for(60ms);
      if (const pid_t pid = child(); pid > 0) ::kill(pid, SIGKILL);
    }
  });
  auto read = read_all(**source, 2);
  killer.join();
  ASSERT_TRUE(read.ok()) << read.error().message();
  EXPECT_TRUE(*read == disk_);
  EXPECT_GE((*source)->counters().reconnects, 1u);
}

TEST_F(NbdkitSourceComponentTest, ChildThatKeepsDyingIsGivenUp) {
  options_.max_restarts = 2;
  environment_.vddk_stand_in = {"eval", "get_size=echo 1048576", "pread=kill -9 $PPID; sleep 1"};
  auto source = open_nbdkit_source(endpoint_, environment_, options_, {});
  ASSERT_TRUE(source.ok()) << source.error().message();
  auto read = read_all(**source, 1);
  EXPECT_FALSE(read.ok());
}

TEST_F(NbdkitSourceComponentTest, Vsrc45MissingProgramMissingPluginAndWrongLibdirDiffer) {
  SourceEnvironment no_program = environment_;
  no_program.nbdkit_program = "no-such-nbdkit";
  const auto first = open_nbdkit_source(endpoint_, no_program, options_, {});
  ASSERT_FALSE(first.ok());
  EXPECT_EQ(first.error().code(), code::kNbdkitMissing);
  EXPECT_NE(text_with_remedy(first.error()).find("install the package"), std::string::npos);

  SourceEnvironment no_plugin = environment_;
  no_plugin.vddk_stand_in = {"no-such-plugin"};
  const auto second = open_nbdkit_source(endpoint_, no_plugin, options_, {});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), code::kNbdkitMissing) << second.error().message();

  SourceEnvironment no_library = environment_;
  no_library.vddk_stand_in.clear();
  no_library.vddk_libdir = workspace_.path("");
  const auto third = open_nbdkit_source(endpoint_, no_library, options_, {});
  ASSERT_FALSE(third.ok());
  EXPECT_EQ(third.error().code(), code::kVddkMissing) << third.error().message();
}

TEST_F(NbdkitSourceComponentTest, Vsrc45WhatIsMissingForVddkIsToldBeforeADiskNeedsIt) {
  std::filesystem::create_directories(workspace_.path("vddk/lib64"));
  workspace_.write("vddk/lib64/libvixDiskLib.so.8", std::string("never loaded"));
  SourceEnvironment real;
  real.vddk_libdir = workspace_.path("vddk");
  real.nbdkit_program = "no-such-nbdkit";
  const Result<void> no_program = check_vddk(real, {});
  ASSERT_FALSE(no_program.ok());
  EXPECT_EQ(no_program.error().code(), code::kNbdkitMissing);
  EXPECT_NE(no_program.error().message().find("not installed"), std::string::npos);

  // An nbdkit that says what one without the plugin says.
  workspace_.write("nbdkit", std::string("#!/bin/sh\necho \"nbdkit: error: cannot open plugin "
                                         "'vddk': no such file\" >&2\nexit 1\n"));
  std::filesystem::permissions(workspace_.path("nbdkit"), std::filesystem::perms::owner_all);
  real.nbdkit_program = workspace_.path("nbdkit");
  const Result<void> no_plugin = check_vddk(real, {});
  ASSERT_FALSE(no_plugin.ok());
  EXPECT_EQ(no_plugin.error().code(), code::kNbdkitMissing);
  EXPECT_NE(no_plugin.error().message().find("plugin"), std::string::npos);

  real.vddk_libdir = workspace_.path("elsewhere");
  const Result<void> no_library = check_vddk(real, {});
  ASSERT_FALSE(no_library.ok());
  EXPECT_EQ(no_library.error().code(), code::kVddkMissing);
}

TEST(ChildProcessTest, AShortageOfDescriptorsLeavesNoChildBehindAndMayPass) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  StderrTail tail(std::vector<SecretString>{});
  std::vector<UniqueFd> low;  // the first ones are not what is given to a child
  do low.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  while (low.back().get() < 16);
  bool started = false;
  for (rlim_t spare = 0; !started && spare < 64; ++spare) {
    rlim_t lowest = 0;
    {
      const UniqueFd free(::open("/dev/null", O_RDONLY | O_CLOEXEC));
      lowest = static_cast<rlim_t>(free.get());
    }
    const rlimit tight{lowest + spare, before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
    const auto child = ChildProcess::start(
        {.command = {"/bin/sleep", "60"}, .secret = SecretString("x"), .secret_fd = 3}, tail);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    started = child.ok();
    if (child) continue;
    EXPECT_EQ(child.error().kind(), ErrorKind::Unavailable) << to_string(child.error());
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "no child, not even a dead one";
  }
  EXPECT_TRUE(started);
}

TEST_F(NbdkitSourceComponentTest, Vsrc48PasswordIsInNoCommandLineOrEnvironmentOfTheChild) {
  StderrTail tail({SecretString("s3cr3t")});
  auto child = ChildProcess::start(
      {.command = {"/bin/sh", "-c", "read p <&3; test \"$p\" = s3cr3t && echo got >&2; sleep 30"},
       .secret = SecretString("s3cr3t"),
       .secret_fd = 3},
      tail);
  ASSERT_TRUE(child.ok());
  for (int i = 0; i < 500 && tail.lines().empty(); ++i) std::this_thread::sleep_for(10ms);
  EXPECT_EQ(tail.lines(), std::vector<std::string>{"got"});
  const std::string proc = "/proc/" + std::to_string((*child)->pid());
  for (const char* file : {"/environ"}) {
    std::ifstream stream(proc + file, std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(stream)), {});
    EXPECT_EQ(text.find("s3cr3t"), std::string::npos);
  }
}

}  // namespace
}  // namespace vmferry
