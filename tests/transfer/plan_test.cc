#include "transfer/plan.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/transfer/support/disks.h"

namespace vmferry {
namespace {

using testing::extents_of;

std::vector<ChunkRun> plan(const std::vector<Extent>& extents, const PlanOptions& options) {
  const std::uint64_t size = extents.empty() ? 0 : extents.back().range.end();
  Planner planner(size, options);
  std::vector<ChunkRun> runs;
  for (const Extent& extent : extents) planner.feed(extent, runs);
  EXPECT_EQ(planner.position(), size);
  return runs;
}

// A chunk a letter: C copy, Z zero, . skip, R resumed.
std::string picture_of(const std::vector<ChunkRun>& runs) {
  std::string picture;
  for (const ChunkRun& run : runs) {
    EXPECT_EQ(run.first, picture.size());
    const char letter = run.action == ChunkAction::Copy   ? 'C'
                        : run.action == ChunkAction::Zero ? 'Z'
                        : run.action == ChunkAction::Skip ? '.'
                                                          : 'R';
    picture.append(run.count, letter);
  }
  return picture;
}

TEST(PlanTest, DecidesPerChunk) {
  struct Case {
    const char* name;
    const char* extents;
    bool target_is_zero;
    const char* durable;  // x: durable
    const char* expected;
  };
  const Case cases[] = {
      {"zeros are written to an unknown target", "D0D", false, "", "CZC"},
      {"zeros are skipped on a zero target", "D0D", true, "", "C.C"},
      {"a hole is read unless the source says zero (case 4)", "D-D", true, "", "CCC"},
      {"durable chunks are left alone", "DDDD", true, " xx ", "CRRC"},
      {"durable wins over zero", "D00D", false, "  x ", "CZRC"},
      {"an empty disk has no plan", "", true, "", ""},
      {"all zero", "0000", true, "", "...."},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const std::vector<Extent> extents = extents_of(c.extents);
    ChunkBitmap durable(extents.size());
    for (std::size_t i = 0; c.durable[i] != '\0'; ++i) {
      if (c.durable[i] == 'x') durable.set(i);
    }
    EXPECT_EQ(picture_of(plan(extents, {.target_is_zero = c.target_is_zero, .durable = &durable})),
              c.expected);
  }
}

TEST(PlanTest, ReadsOnlyThePiecesThatHoldData) {
  // A piece (64 KiB) a letter, 16 to a chunk.
  struct Case {
    const char* name;
    const char* extents;
    PieceMask expected;
  };
  const Case cases[] = {
      {"one piece", "0D00000000000000", 0x0002},
      {"first and last", "D00000000000000D", 0x8001},
      {"a hole is data", "0-0000000000000D", 0x8002},
      {"all", "DDDDDDDDDDDDDDDD", 0xffff},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const auto runs = plan(extents_of(c.extents, kPieceBytes), {.target_is_zero = true});
    ASSERT_EQ(runs.size(), 1u);
    EXPECT_EQ(runs[0].action, ChunkAction::Copy);
    EXPECT_EQ(runs[0].pieces, c.expected);
  }
  const auto whole = plan(extents_of("0D00000000000000", kPieceBytes), {.whole_chunks = true});
  EXPECT_EQ(whole.at(0).pieces, kAllPieces);
}

TEST(PlanTest, Ns35AlternatingPagesBecomeOneRead) {
  std::string picture;
  for (int i = 0; i < 128; ++i) picture += "D0";
  const auto runs = plan(extents_of(picture, 4096), {.target_is_zero = true});
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].pieces, kAllPieces);
}

TEST(PlanTest, CountsTheShortLastChunkAsItIs) {
  struct Case {
    std::uint64_t size;
    std::uint64_t chunks;
  };
  for (const Case& c :
       {Case{1, 1}, Case{511, 1}, Case{4097, 1}, Case{kChunkBytes - 1, 1}, Case{kChunkBytes, 1},
        Case{kChunkBytes + 1, 2}, Case{3 * kChunkBytes + 70000, 4}}) {
    SCOPED_TRACE(c.size);
    std::vector<ChunkRun> runs = plan({{{0, c.size}, Allocation::Data}}, {});
    std::uint64_t chunks = 0;
    std::uint64_t reading = 0;
    std::uint64_t all = 0;
    for (const ChunkRun& run : runs) {
      chunks += run.count;
      reading += bytes_to_read(run, c.size);
      all += bytes_of(run, c.size);
    }
    EXPECT_EQ(chunks, c.chunks);
    EXPECT_EQ(reading, c.size);
    EXPECT_EQ(all, c.size);
  }
}

TEST(PlanTest, JoinsWhatIsAlikeAndStaysSmallForHugeDisks) {
  const std::uint64_t size = 100ull << 40;
  EXPECT_EQ(plan({{{0, size}, Allocation::Zero}}, {.target_is_zero = true}).size(), 1u);
  const auto runs =
      plan({{{0, size / 2}, Allocation::Data}, {{size / 2, size / 2}, Allocation::Hole}}, {});
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].count, size / kChunkBytes);
}

TEST(PlanTest, AnyCutOfTheExtentsGivesTheSamePlan) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 200; ++round) {
    const std::uint64_t size = 1 + random() % (6 * kChunkBytes);
    const auto disk = testing::random_disk(size, random);
    std::vector<Extent> cut;
    for (const Extent& extent : disk.extents) {
      const std::uint64_t first = 1 + random() % extent.range.length;
      cut.push_back({{extent.range.offset, first}, extent.allocation});
      if (first < extent.range.length) {
        cut.push_back(
            {{extent.range.offset + first, extent.range.length - first}, extent.allocation});
      }
    }
    EXPECT_EQ(plan(disk.extents, {}), plan(cut, {}));
  }
}

}  // namespace
}  // namespace vmferry
