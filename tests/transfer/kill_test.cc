// NS-26: kill -9 at random points, resume, until the copy ends: the target equals the source.
// VMFERRY_KILL_LOOPS: how many kills in each test (./dev kills).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <random>
#include <thread>

#include "common/fd.h"
#include "tests/transfer/support/disks.h"
#include "transfer/copy.h"
#include "transfer/resume.h"

namespace vmferry {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kSize = 48 * kChunkBytes + 4097;

// What a coordinator would keep of one target, in files, so that it survives the writer's death:
// `current` names the epoch, <epoch>.identity and <epoch>.chunks belong to it.
class Remembered {
 public:
  explicit Remembered(std::string directory) : directory_(std::move(directory)) {
    fs::create_directories(directory_);
  }
  void clear() const {
    fs::remove_all(directory_);
    fs::create_directories(directory_);
  }
  void opened(const std::string& epoch, const std::string& identity) {
    epoch_ = epoch;
    ASSERT_TRUE(write_file_atomically(path(epoch + ".identity"), identity, 0600).ok());
    ASSERT_TRUE(write_file_atomically(path("current"), epoch, 0600).ok());
  }
  void add(const std::vector<DurableChunk>& chunks) const {
    const std::string bytes = encode_chunks(chunks);
    const auto length = static_cast<std::uint32_t>(bytes.size());
    std::string record(reinterpret_cast<const char*>(&length), sizeof length);
    record += bytes;
    const UniqueFd fd(
        ::open(path(epoch_ + ".chunks").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    // One call: what a killed writer leaves is whole or cut at the end.
    if (::write(fd.get(), record.data(), record.size()) < 0) std::abort();
  }
  std::optional<ResumeState> state() const {
    const Result<std::string> epoch = read_file(path("current"), 4096);
    if (!epoch) return std::nullopt;
    ResumeState state{*epoch, *read_file(path(*epoch + ".identity"), 65536), {}};
    const Result<std::string> all = read_file(path(*epoch + ".chunks"), 16u << 20);
    std::map<std::uint64_t, LeafDigest> chunks;
    for (std::string_view rest = all ? *all : std::string_view(); rest.size() >= 4;) {
      std::uint32_t length = 0;
      std::memcpy(&length, rest.data(), 4);
      if (rest.size() - 4 < length) break;
      const auto decoded = decode_chunks(rest.substr(4, length), 1000);
      EXPECT_TRUE(decoded.ok());
      for (const DurableChunk& chunk : *decoded) chunks[chunk.index] = chunk.digest;
      rest.remove_prefix(4 + length);
    }
    for (const auto& [index, digest] : chunks) state.chunks.push_back({index, digest});
    return state;
  }

 private:
  std::string path(const std::string& name) const { return directory_ + "/" + name; }
  std::string directory_;
  std::string epoch_;
};

// One attempt: where its journal lies and what it is told of earlier ones.
struct Attempt {
  std::string target;
  std::string journal;
  std::optional<ResumeState> told;
  Remembered* reports_to = nullptr;
  // Whether the reason for starting over is one that this test expects.
  std::function<bool(const std::string&)> may_start_over;
  // Reading the target back would mend what a journal wrongly called durable, so half of the lives
  // do without.
  VerifyMode verify = VerifyMode::ReadBack;
};

// The child's life, slow enough to be killed in the middle.
[[noreturn]] void live(const testing::RandomDisk& disk, const Attempt& attempt) {
  MemorySource source(disk.content);
  source.allocation = disk.extents;
  source.on_read = [](ByteRange, std::stop_token) -> Result<void> {
    std::this_thread::sleep_for(std::chrono::microseconds(500));
    return {};
  };
  std::function<void(const std::vector<DurableChunk>&)> on_durable;
  if (attempt.reports_to != nullptr) {
    on_durable = [&](const std::vector<DurableChunk>& chunks) { attempt.reports_to->add(chunks); };
  }
  Result<TargetOpen> target = open_target(
      {.path = attempt.target, .size_bytes = kSize},
      {.job = "kill", .hash = "xxh3-128", .source = {{"uuid", "1"}}, .target = {}}, attempt.journal,
      attempt.told, on_durable, {.will_verify = attempt.verify != VerifyMode::None});
  if (!target || (target->started_over && !attempt.may_start_over(target->reason))) ::_exit(3);
  if (attempt.reports_to != nullptr) attempt.reports_to->opened(target->epoch, target->identity);
  CopyOptions options;
  options.checkpoint_every = std::chrono::milliseconds(5);
  options.workers = 3;
  options.verify = attempt.verify;
  CopyMonitor monitor;
  const SystemClock clock;
  const Result<CopyResult> result = copy_disk(source, *target->sink, target->journal.get(), nullptr,
                                              options, monitor, clock, Logger(), {});
  ::_exit(!result ? 4 : result->repaired_offsets.empty() ? 0 : 5);
}

int wanted_kills() {
  const char* text = std::getenv("VMFERRY_KILL_LOOPS");
  return text != nullptr ? std::max(1, std::atoi(text)) : 20;
}

class KillTest : public ::testing::Test {
 protected:
  // Copies disk after disk. `plan` makes each attempt; `killed` may change what the dead one left.
  void run(const std::function<void()>& begin_disk, const std::function<Attempt()>& plan,
           const std::function<void()>& killed) {
    int kills = 0;
    int copies = 0;
    const int wanted = wanted_kills();
    for (; kills < wanted; ++copies) {
      const testing::RandomDisk disk = testing::random_disk(kSize, random_);
      fs::remove(target_);
      begin_disk();
      // Longer and longer lives, so that even a slow disk gets to a checkpoint.
      std::uint64_t most_microseconds = 20'000;
      for (bool done = false; !done; most_microseconds += most_microseconds / 4) {
        Attempt attempt = plan();
        if (random_() % 2 == 0) attempt.verify = VerifyMode::None;
        const pid_t child = ::fork();
        ASSERT_GE(child, 0);
        if (child == 0) live(disk, attempt);
        std::this_thread::sleep_for(std::chrono::microseconds(random_() % most_microseconds));
        ::kill(child, SIGKILL);
        int status = 0;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        if (WIFSIGNALED(status)) {
          ++kills;
          killed();
          continue;
        }
        ASSERT_EQ(WEXITSTATUS(status), 0)
            << "3: started over without a reason, 4: copy failed, 5: something had to be repaired";
        done = true;
      }
      ASSERT_TRUE(testing::read_whole(target_, kSize) == disk.content);
    }
    RecordProperty("kills", kills);
    RecordProperty("copies", copies);
    std::printf("%s: %d kills, %d copies, each equal\n",
                ::testing::UnitTest::GetInstance()->current_test_info()->name(), kills, copies);
  }

  // A journal killed while it was being made has two torn headers.
  static bool is_torn(const std::string& reason) {
    return reason.find("both") != std::string::npos;
  }

  std::mt19937_64 random_{std::random_device{}()};
  const testing::TemporaryDirectory directory_;
  const std::string target_ = directory_.path("disk.img");
};

TEST_F(KillTest, Ns26KilledAnywhereAndResumedTheTargetEqualsTheSource) {
  const std::string journal = target_ + ".journal";
  run([&] { fs::remove(journal); },
      [&] {
        return Attempt{target_, journal, std::nullopt, nullptr, is_torn};
      },
      [] {});
}

// The journal may lag behind the target by as much as it likes: an old state of it is put back.
TEST_F(KillTest, Ns26WithAJournalOlderThanTheDataTheTargetEqualsTheSource) {
  const std::string journal = target_ + ".journal";
  const std::string old = target_ + ".old";
  run(
      [&] {
        fs::remove(journal);
        fs::remove(old);
      },
      [&] {
        // An old journal may be of a target that was started over since.
        return Attempt{target_, journal, std::nullopt, nullptr,
                       [](const std::string& reason) { return !reason.empty(); }};
      },
      [&] {
        if (!fs::exists(journal)) return;
        const std::uint64_t choice = random_() % 3;
        if (choice == 0 || !fs::exists(old)) {
          fs::copy_file(journal, old, fs::copy_options::overwrite_existing);
        } else if (choice == 1) {
          fs::copy_file(old, journal, fs::copy_options::overwrite_existing);
        }
      });
}

// Each attempt on one of three machines, each with the journal that it happens to have, with or
// without what the coordinator remembers.
TEST_F(KillTest, Ns26MovingBetweenMachinesTheTargetEqualsTheSource) {
  Remembered remembered(directory_.path("coordinator"));
  const auto journal_of = [&](std::uint64_t machine) {
    return directory_.path("machine-" + std::to_string(machine) + ".journal");
  };
  run(
      [&] {
        remembered.clear();
        for (std::uint64_t machine = 0; machine < 3; ++machine) fs::remove(journal_of(machine));
      },
      [&] {
        Attempt attempt{target_, journal_of(random_() % 3), std::nullopt, &remembered,
                        [](const std::string& reason) { return !reason.empty(); }};
        if (random_() % 4 != 0) attempt.told = remembered.state();
        if (random_() % 4 == 0) attempt.journal.clear();
        return attempt;
      },
      [] {});
}

}  // namespace
}  // namespace vmferry
