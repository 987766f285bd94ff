#include "transfer/resume.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <tuple>

#include "common/fd.h"
#include "tests/transfer/support/copy_run.h"
#include "tests/transfer/support/disks.h"
#include "transfer/digest.h"
#include "transfer/resume_check.h"
#include "transfer/sinks/memory.h"
#include "transfer/sources/memory.h"

namespace vmferry {
namespace {

using testing::durable_of;
using ::testing::HasSubstr;

constexpr std::uint64_t kSize = 8 * kChunkBytes;

testing::Bytes content_of(std::uint64_t index, int value = 1) {
  return testing::Bytes(kChunkBytes, static_cast<std::byte>(16 * value + static_cast<int>(index)));
}

// With the digest of that content.
DurableChunk chunk(std::uint64_t index, int value = 1) {
  DurableChunk chunk{index, LeafDigest(16)};
  Result<LeafHasher> hasher = LeafHasher::make(HashAlgorithm::Xxh3_128);
  EXPECT_TRUE(hasher->hash(content_of(index, value), chunk.digest).ok());
  return chunk;
}

// As if all of the disk had been copied, whatever of it is recorded.
void fill(DiskSink& sink) {
  for (std::uint64_t index = 0; index < kSize / kChunkBytes; ++index) {
    EXPECT_TRUE(sink.write(index * kChunkBytes, content_of(index)).ok());
  }
  EXPECT_TRUE(sink.flush().ok());
}

JournalIdentity identity(const std::string& uuid = "A") {
  return {.job = "import/disk",
          .size_bytes = 0,
          .hash = "xxh3-128",
          .source = {{"disk_uuid", uuid}},
          .target = {{"claim", "c"}}};
}

class ResumeTest : public ::testing::Test {
 public:
  // On another node the path of the journal is another one.
  Result<TargetOpen> open(const std::optional<ResumeState>& state = std::nullopt,
                          const JournalIdentity& who = identity(),
                          const std::string& journal = "journal") {
    return open_target({.path = directory.path("disk.img"), .size_bytes = kSize}, who,
                       journal.empty() ? "" : directory.path(journal), state,
                       [this](const std::vector<DurableChunk>& chunks) {
                         reported.insert(reported.end(), chunks.begin(), chunks.end());
                       });
  }
  // A first attempt that made chunks 1 and 2 durable; what the coordinator then knows.
  ResumeState first_attempt() {
    Result<TargetOpen> target = open();
    EXPECT_TRUE(target.ok());
    EXPECT_FALSE(target->started_over);
    EXPECT_TRUE(target->sink->initially_zero());
    fill(*target->sink);
    EXPECT_TRUE(target->journal->record({chunk(1), chunk(2)}).ok());
    ResumeState state{target->epoch, target->identity, reported};
    reported.clear();
    return state;
  }

  testing::TemporaryDirectory directory;
  std::vector<DurableChunk> reported;
};

TEST_F(ResumeTest, IdentityTextIsCanonicalAndReadable) {
  const JournalIdentity who = identity();
  const std::string text = identity_text(who);
  EXPECT_EQ(text, R"({"job":"import/disk","size_bytes":0,"hash":"xxh3-128",)"
                  R"("source":[["disk_uuid","A"]],"target":[["claim","c"]]})");
  EXPECT_EQ(*identity_from_text(text), who);
  for (const char* bad :
       {"", "[]", "{}", "{\"job\":1}", R"({"job":"a","hash":"b","size_bytes":-1})"}) {
    EXPECT_EQ(identity_from_text(bad).error().kind(), ErrorKind::DataLoss) << bad;
  }
}

TEST_F(ResumeTest, AllIsToldAgainWithoutAnythingNewWhenSomebodyAsks) {
  std::atomic<bool> tell_all{false};
  const auto on_durable = [this](const std::vector<DurableChunk>& chunks) {
    reported.insert(reported.end(), chunks.begin(), chunks.end());
  };
  const Result<TargetOpen> target =
      open_target({.path = directory.path("disk.img"), .size_bytes = kSize}, identity(),
                  directory.path("journal"), std::nullopt, on_durable, {}, &tell_all);
  ASSERT_TRUE(target.ok()) << to_string(target.error());
  ASSERT_TRUE(target->journal->record({chunk(1), chunk(2)}).ok());
  reported.clear();
  target->journal->catch_up();
  EXPECT_TRUE(reported.empty()) << "nobody has asked";
  tell_all = true;
  target->journal->catch_up();
  EXPECT_EQ(reported, (std::vector<DurableChunk>{chunk(1), chunk(2)}));
  EXPECT_FALSE(tell_all);
  target->journal->catch_up();
  EXPECT_EQ(reported.size(), 2u) << "once";
}

TEST_F(ResumeTest, TheLocalJournalAloneIsEnough) {
  const ResumeState first = first_attempt();
  const Result<TargetOpen> target = open();
  ASSERT_TRUE(target.ok()) << to_string(target.error());
  EXPECT_FALSE(target->started_over);
  EXPECT_EQ(target->epoch, first.epoch);
  EXPECT_EQ(target->identity, first.identity);
  EXPECT_TRUE(target->journal->resumed());
  EXPECT_FALSE(target->sink->initially_zero());
  EXPECT_EQ(durable_of(*target->journal), (std::vector{chunk(1), chunk(2)}));
  ASSERT_TRUE(target->journal->record({chunk(3)}).ok());
  EXPECT_EQ(reported, (std::vector{chunk(1), chunk(2), chunk(3)}));  // the coordinator knew nothing
}

TEST_F(ResumeTest, TheCoordinatorAloneIsEnoughOnAnotherNode) {
  const ResumeState first = first_attempt();
  Result<TargetOpen> target = open(first, identity(), "journal-of-node-2");
  ASSERT_TRUE(target.ok());
  EXPECT_FALSE(target->started_over) << target->reason;
  EXPECT_EQ(target->epoch, first.epoch);
  EXPECT_EQ(durable_of(*target->journal), first.chunks);
  target = Error(ErrorKind::Canceled, "close");
  // The new node's journal knows them now as well.
  EXPECT_EQ(durable_of(*open(std::nullopt, identity(), "journal-of-node-2")->journal),
            first.chunks);
}

TEST_F(ResumeTest, DurableIsTheUnionOfBoth) {
  ResumeState first = first_attempt();
  first.chunks = {chunk(2), chunk(5)};  // 5 was made on another node, 1 was never reported
  const Result<TargetOpen> target = open(first);
  ASSERT_TRUE(target.ok());
  EXPECT_EQ(durable_of(*target->journal), (std::vector{chunk(1), chunk(2), chunk(5)}));
  ASSERT_TRUE(target->journal->record({}).ok());
  EXPECT_EQ(reported, std::vector{chunk(1)});
}

TEST_F(ResumeTest, WorksWithoutALocalJournal) {
  const ResumeState first = first_attempt();
  const Result<TargetOpen> target = open(first, identity(), "");
  ASSERT_TRUE(target.ok());
  EXPECT_EQ(durable_of(*target->journal), first.chunks);
  EXPECT_TRUE(target->journal->mark_complete().ok());
}

TEST_F(ResumeTest, StartsOverAndSaysWhy) {
  struct Case {
    const char* name;
    std::function<void(ResumeTest&, ResumeState&, JournalIdentity&)> change;
    const char* reason;
  };
  const auto path = [](ResumeTest& test) { return test.directory.path("disk.img"); };
  const Case cases[] = {
      {"NS-28 another source disk", [](auto&, auto&, auto& who) { who.source[0].second = "B"; },
       "source disk_uuid changed from 'A' to 'B'"},
      {"another claim", [](auto&, auto&, auto& who) { who.target[0].second = "d"; },
       "target claim changed"},
      {"the file is gone", [&](auto& test, auto&, auto&) { ::unlink(path(test).c_str()); },
       "does not exist"},
      {"the file was cut",
       [&](auto& test, auto&, auto&) { std::filesystem::resize_file(path(test), kSize - 1); },
       "instead of"},
      {"NS-28 the file is another one",
       [&](auto& test, auto&, auto&) {
         std::filesystem::rename(path(test), path(test) + ".old");
         const UniqueFd fd(::open(path(test).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
         ASSERT_EQ(::ftruncate(fd.get(), kSize), 0);
       },
       "target"},
      {"the file was written over in place",
       [&](auto& test, auto&, auto&) {
         const UniqueFd fd(::open(path(test).c_str(), O_WRONLY | O_CLOEXEC));
         ASSERT_TRUE(write_fully(fd.get(), 2 * kChunkBytes + 7, content_of(3)).ok());
       },
       "does not hold what the journal says"},
      {"contradicting digests", [](auto&, auto& state, auto&) { state.chunks = {chunk(1, 9)}; },
       "different digests"},
      {"two epochs of one target", [](auto&, auto& state, auto&) { state.epoch = "other"; },
       "different epochs"},
      {"chunks beyond the disk", [](auto&, auto& state, auto&) { state.chunks = {chunk(99)}; },
       "damaged"},
      {"chunks out of order",
       [](auto&, auto& state, auto&) {
         state.chunks = {chunk(2), chunk(1)};
       },
       "damaged"},
      {"an identity that is no text", [](auto&, auto& state, auto&) { state.identity = "x"; },
       "cannot be read"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    ::unlink(directory.path("disk.img").c_str());
    ::unlink(directory.path("journal").c_str());
    ResumeState state = first_attempt();
    JournalIdentity who = identity();
    c.change(*this, state, who);
    const Result<TargetOpen> target = open(state, who);
    ASSERT_TRUE(target.ok()) << to_string(target.error());
    EXPECT_TRUE(target->started_over);
    EXPECT_THAT(target->reason, HasSubstr(c.reason));
    EXPECT_NE(target->epoch, state.epoch);
    EXPECT_FALSE(target->journal->resumed());
    EXPECT_TRUE(durable_of(*target->journal).empty());
    EXPECT_TRUE(target->sink->initially_zero());
  }
}

TEST_F(ResumeTest, Ns28AChangedSourceIsRefusedWhereAskedForAndNothingIsTouched) {
  const auto reopen = [this](const JournalIdentity& who, std::uint64_t size = kSize) {
    return open_target({.path = directory.path("disk.img"), .size_bytes = size}, who,
                       directory.path("journal"), std::nullopt, {},
                       {.changed = ChangedSource::Refuse});
  };
  {
    const auto target = reopen(identity());
    ASSERT_TRUE(target.ok()) << to_string(target.error());
    // Nothing is durable yet: there is nothing to lose.
  }
  {
    const auto target = reopen(identity("B"));
    ASSERT_TRUE(target.ok()) << to_string(target.error());
    fill(*target->sink);
    ASSERT_TRUE(target->journal->record({chunk(0)}).ok());
  }
  const auto before = testing::read_whole(directory.path("disk.img"), kSize);
  for (const auto& [who, size, text] :
       {std::tuple{identity("C"), kSize, "source disk_uuid changed from 'B' to 'C'"},
        std::tuple{identity("B"), kSize + 512, "disk size changed"}}) {
    const auto refused = reopen(who, size);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code(), "VMF-SRC-CHANGED");
    EXPECT_THAT(refused.error().message(), HasSubstr(text));
  }
  EXPECT_TRUE(testing::read_whole(directory.path("disk.img"), kSize) == before);
  EXPECT_EQ(durable_of(*reopen(identity("B"))->journal), std::vector{chunk(0)});
  // What is gone cannot be lost, and another target is what --start-over is not about.
  ::unlink(directory.path("disk.img").c_str());
  EXPECT_TRUE(reopen(identity("C")).ok());
}

TEST_F(ResumeTest, ATargetStartedOverNoLongerFitsTheOldStateOnAnyNode) {
  const ResumeState old = first_attempt();
  ASSERT_TRUE(open(old, identity("B"))->started_over);
  // The agent died before it could report; another node gets the old state with the old source.
  const Result<TargetOpen> target = open(old, identity("A"), "journal-of-node-2");
  ASSERT_TRUE(target.ok());
  EXPECT_TRUE(target->started_over);
  EXPECT_THAT(target->reason, HasSubstr("target mark changed"));
}

TEST_F(ResumeTest, ACorruptJournalStartsOverUnlessTheCoordinatorKnows) {
  const ResumeState first = first_attempt();
  const auto damage = [&] {
    const UniqueFd fd(::open(directory.path("journal").c_str(), O_RDWR | O_CLOEXEC));
    const std::byte noise[64] = {};
    ASSERT_TRUE(write_fully(fd.get(), 0, noise).ok());
    ASSERT_TRUE(write_fully(fd.get(), 16 << 10, noise).ok());
  };
  damage();
  EXPECT_FALSE(open(first)->started_over);
  damage();
  const Result<TargetOpen> target = open();
  ASSERT_TRUE(target.ok());
  EXPECT_TRUE(target->started_over);
  EXPECT_THAT(target->reason, HasSubstr("corrupt"));
}

// Such as the path of an image, which may be any bytes.
TEST_F(ResumeTest, AnIdentityThatIsNoUtf8IsTheSameTheNextTime) {
  const JournalIdentity who = identity("\xff\xfe");
  const auto open_again = [&] {
    return open_target({.path = directory.path("disk.img"), .size_bytes = kSize}, who,
                       directory.path("journal"), std::nullopt, {},
                       {.changed = ChangedSource::Refuse});
  };
  {
    const Result<TargetOpen> target = open_again();
    ASSERT_TRUE(target.ok()) << to_string(target.error());
    fill(*target->sink);
    ASSERT_TRUE(target->journal->record({chunk(4)}).ok());
  }
  const Result<TargetOpen> target = open_again();
  ASSERT_TRUE(target.ok()) << to_string(target.error());
  EXPECT_TRUE(target->journal->resumed());
}

TEST_F(ResumeTest, OneChunkThatRottedIsLeftToTheVerificationTwoAreAnotherDisk) {
  for (const int rotted : {0, 1, 2}) {
    for (const bool will_verify : {false, true}) {
      SCOPED_TRACE(fmt::format("{} {}", rotted, will_verify));
      ::unlink(directory.path("disk.img").c_str());
      ::unlink(directory.path("journal").c_str());
      first_attempt();
      const UniqueFd fd(::open(directory.path("disk.img").c_str(), O_WRONLY | O_CLOEXEC));
      const std::byte wrong{0xee};
      for (int i = 0; i < rotted; ++i) {
        const auto at = static_cast<std::uint64_t>(1 + i) * kChunkBytes + 77;
        ASSERT_TRUE(write_fully(fd.get(), at, {&wrong, 1}).ok());
      }
      const Result<TargetOpen> target =
          open_target({.path = directory.path("disk.img"), .size_bytes = kSize}, identity(),
                      directory.path("journal"), std::nullopt, {}, {.will_verify = will_verify});
      ASSERT_TRUE(target.ok()) << to_string(target.error());
      EXPECT_EQ(target->started_over, rotted > (will_verify ? 1 : 0));
    }
  }
}

TEST_F(ResumeTest, AStopWhileTheTargetIsReadBackLeavesEverythingAsItWas) {
  const ResumeState first = first_attempt();
  std::stop_source stopped;
  stopped.request_stop();
  const Result<TargetOpen> target =
      open_target({.path = directory.path("disk.img"), .size_bytes = kSize}, identity(),
                  directory.path("journal"), first, {}, {}, nullptr, stopped.get_token());
  ASSERT_FALSE(target.ok());
  EXPECT_EQ(target.error().kind(), ErrorKind::Canceled);
  EXPECT_EQ(durable_of(*open(first)->journal), (std::vector{chunk(1), chunk(2)}));
}

// A slow target: a megabyte a second.
TEST(HoldsWhatIsRecordedTest, AStopEndsItAfterTheSampleThatIsRead) {
  MemorySink sink(kSize);
  fill(sink);
  std::vector<DurableChunk> samples;
  for (std::uint64_t index = 0; index < 8; ++index) samples.push_back(chunk(index));
  std::stop_source stop;
  int read = 0;
  sink.faults.on_read_back = [&](ByteRange) -> Result<void> {
    if (++read == 3) stop.request_stop();
    return {};
  };
  const auto holds = [&] {
    return holds_what_is_recorded(sink, samples, HashAlgorithm::Xxh3_128, kSize, 0,
                                  stop.get_token());
  };
  const Result<bool> stopped = holds();
  ASSERT_FALSE(stopped.ok());
  EXPECT_EQ(stopped.error().kind(), ErrorKind::Canceled);
  EXPECT_EQ(read, 3);
  stop = std::stop_source();
  EXPECT_TRUE(*holds());
}

// The journal's disk is full, and the target's is not: 32 KiB of headers, two slots of 4 KiB, then
// the leaves.
TEST_F(ResumeTest, AFullDiskOfTheJournalIsNotTheTargets) {
  for (const std::uint64_t room : {16u << 10, 40u << 10}) {
    SCOPED_TRACE(room);
    const auto small = testing::SmallTmpfs::create(room);
    if (small == nullptr) GTEST_SKIP() << "needs to mount a tmpfs (root)";
    const std::string journal = small->path() + "/journal";
    const Result<CopyResult> result = [&]() -> Result<CopyResult> {
      const TargetOpen target =
          TRY(open_target({.path = directory.path("disk.img"), .size_bytes = kSize}, identity(),
                          journal, std::nullopt, {}));
      EXPECT_EQ(room, 40u << 10) << "there is no room for a header";
      MemorySource source(testing::random_bytes(kSize, 5));
      testing::Copy copy;
      copy.journal = target.journal.get();
      return copy.run(source, *target.sink);
    }();
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().kind(), ErrorKind::Unavailable) << to_string(result.error());
    EXPECT_EQ(result.error().code(), "VMF-XFER-JOURNAL-IO");
    EXPECT_THAT(result.error().message(), HasSubstr(journal));
  }
}

TEST_F(ResumeTest, AJournalWhereThereIsNoDirectoryIsAWrongPathAndNoBrokenDisk) {
  const Result<TargetOpen> target =
      open_target({.path = directory.path("disk.img"), .size_bytes = kSize}, identity(),
                  directory.path("missing/journal"), std::nullopt, {});
  ASSERT_FALSE(target.ok());
  EXPECT_EQ(target.error().kind(), ErrorKind::NotFound) << to_string(target.error());
}

TEST(ChunkSamplesTest, AreSpreadEvenlyAndPreferNeitherEnd) {
  Result<ChunkSamples> samples = ChunkSamples::make(HashAlgorithm::Xxh3_128);
  ASSERT_TRUE(samples.ok());
  for (std::uint64_t index = 0; index < 5000; ++index) {
    samples->add(index, LeafDigest(16, static_cast<std::byte>(index * 7 + 1)));
  }
  const std::vector<DurableChunk> chunks = samples->chunks();
  ASSERT_GE(chunks.size(), 16u);
  ASSERT_LE(chunks.size(), 32u);
  const std::uint64_t step = chunks[1].index - chunks[0].index;
  for (std::size_t i = 0; i < chunks.size(); ++i) EXPECT_EQ(chunks[i].index, i * step);
  EXPECT_GT(chunks.back().index + step, 4999u);
}

TEST_F(ResumeTest, Ns38ASecondMoverIsRefused) {
  const Result<TargetOpen> first = open();
  for (const char* journal : {"journal", "another-journal"}) {
    const Result<TargetOpen> second = open(std::nullopt, identity(), journal);
    ASSERT_FALSE(second.ok());
    EXPECT_EQ(second.error().code(), "VMF-DST-BUSY");
  }
}

}  // namespace
}  // namespace vmferry
