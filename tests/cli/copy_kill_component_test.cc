// kill -9 of the real `vmferry copy` at random points, resumed until it ends.
// VMFERRY_KILL_LOOPS: how many kills (./dev kills).
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <thread>

#include "tests/cli/support/copy_program.h"
#include "tests/transfer/support/disks.h"

namespace vmferry {
namespace {

namespace fs = std::filesystem;
using testing::Bytes;
using testing::CopyOutcome;
using testing::CopyProgram;

int wanted_kills() {
  const char* text = std::getenv("VMFERRY_KILL_LOOPS");
  return text != nullptr ? std::max(1, std::atoi(text)) : 12;
}

TEST(CopyKillComponentTest, Ns26KilledAnywhereMovedAndResumedTheTargetEqualsTheSource) {
  if (!testing::has_copy_program()) GTEST_SKIP() << "needs the program vmferry";
  if (!testing::has_program("nbdkit")) GTEST_SKIP() << "needs nbdkit";
  std::mt19937_64 random(std::random_device{}());
  const testing::Workspace workspace;
  const std::string image = workspace.path("source.img");
  int kills = 0;
  int copies = 0;
  for (const int wanted = wanted_kills(); kills < wanted; ++copies) {
    const Bytes disk = testing::patterned((24u << 20) + 512, static_cast<unsigned>(random()), 7);
    workspace.write("source.img", disk);
    const std::string socket = workspace.path("nbd.sock");
    fs::remove(socket);
    fs::remove(socket + ".pid");
    const testing::Peer server({"nbdkit", "--foreground", "--readonly", "--exit-with-parent",
                                "--unix", socket, "--pidfile", socket + ".pid", "file", image});
    ASSERT_TRUE(testing::wait_for_file(socket + ".pid")) << server.stderr_text();
    // Journal and target move between two machines that see one file system.
    std::string here = workspace.path("one");
    std::string there = workspace.path("two");
    for (const std::string& machine : {here, there}) {
      fs::remove_all(machine);
      fs::create_directory(machine);
    }
    std::uint64_t most_milliseconds = 150;
    for (bool done = false; !done; most_milliseconds += most_milliseconds / 5) {
      std::vector<std::string> words{"nbd+unix:///?socket=" + socket,
                                     here + "/disk.img",
                                     "--journal",
                                     here + "/copy.journal",
                                     "--limit",
                                     "60M",
                                     "--json"};
      // Reading back would mend what the journal wrongly called durable.
      if (random() % 2 == 0) words.emplace_back("--no-verify");
      CopyProgram program(workspace, words);
      std::this_thread::sleep_for(std::chrono::milliseconds(random() % most_milliseconds));
      program.signal(SIGKILL);
      const CopyOutcome outcome = program.wait();
      if (outcome.exit_code == 128 + SIGKILL) {
        ++kills;
        if (random() % 2 == 0) {
          for (const char* name : {"/disk.img", "/copy.journal"}) {
            if (fs::exists(here + name)) fs::rename(here + name, there + name);
          }
          std::swap(here, there);
        }
        continue;
      }
      ASSERT_EQ(outcome.exit_code, 0) << outcome.err << "after " << kills
                                      << " kills; the server said: " << server.stderr_text();
      // Nothing of the journal is whole: it was killed while that was being made.
      ASSERT_TRUE(outcome.err.find("starting over") == std::string::npos ||
                  outcome.err.find("the journal is corrupt: both") != std::string::npos)
          << outcome.err;
      ASSERT_NE(outcome.out.find("\"repaired_offsets\":[]"), std::string::npos) << outcome.out;
      done = true;
    }
    ASSERT_TRUE(testing::read_whole(here + "/disk.img", disk.size()) == disk);
  }
  RecordProperty("kills", kills);
  std::printf("%s: %d kills, %d copies, each equal\n",
              ::testing::UnitTest::GetInstance()->current_test_info()->name(), kills, copies);
}

}  // namespace
}  // namespace vmferry
