#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "common/fd.h"
#include "tests/transfer/support/copy_run.h"
#include "tests/transfer/support/disks.h"
#include "transfer/journal_file.h"
#include "transfer/resume.h"

namespace vmferry {
namespace {

using Content = JournalFile::Content;
using testing::durable_of;
using ::testing::HasSubstr;

constexpr std::uint64_t kChunks = 5000;
constexpr std::uint64_t kHeaderB = 16 << 10;
constexpr std::uint64_t kSlotA = 32 << 10;
constexpr std::uint64_t kSlotB = kSlotA + 4096;  // 24 + 625 bytes, rounded up to a page
constexpr std::uint64_t kLeaves = kSlotB + 4096;

DurableChunk chunk(std::uint64_t index) {
  return {index, LeafDigest(16, static_cast<std::byte>(index * 7 + 1))};
}

JournalIdentity identity() {
  return {.job = "import/disk",
          .size_bytes = kChunks << 20,
          .hash = "xxh3-128",
          .source = {{"disk_uuid", "A"}, {"change_id", "7"}},
          .target = {{"inode", "12"}, {"mark", "m"}}};
}

class JournalTest : public ::testing::Test {
 protected:
  // Created when there is none to go on from.
  std::unique_ptr<JournalFile> open(const JournalIdentity& how = identity()) {
    found = Content::Empty;
    Result<std::unique_ptr<JournalFile>> journal = JournalFile::open(path);
    EXPECT_TRUE(journal.ok()) << to_string(journal.error());
    if (!journal) return nullptr;
    found = (*journal)->content();
    if (found != Content::Valid) {
      damage = (*journal)->damage();
      EXPECT_TRUE((*journal)->create(how).ok());
    }
    return *std::move(journal);
  }
  void flip(std::uint64_t offset) const {
    const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    std::byte byte{};
    ASSERT_TRUE(read_fully(fd.get(), offset, {&byte, 1}).ok());
    byte ^= std::byte{0x10};
    ASSERT_TRUE(write_fully(fd.get(), offset, {&byte, 1}).ok());
  }

  Content found = Content::Empty;  // by the last open()
  std::string damage;
  testing::TemporaryDirectory directory;
  std::string path = directory.path("journal");
};

TEST_F(JournalTest, RemembersWhatWasRecordedAndCompletion) {
  {
    const auto journal = open();
    EXPECT_EQ(found, Content::Empty);
    EXPECT_FALSE(journal->has_chunks());
    EXPECT_TRUE(durable_of(*journal).empty());
    ASSERT_TRUE(journal->record({chunk(0), chunk(1), chunk(4999)}).ok());
    ASSERT_TRUE(journal->record({chunk(77)}).ok());
  }
  {
    const auto journal = open();
    EXPECT_EQ(found, Content::Valid);
    EXPECT_EQ(journal->identity(), identity());
    EXPECT_TRUE(journal->has_chunks());
    EXPECT_EQ(durable_of(*journal), (std::vector{chunk(0), chunk(1), chunk(77), chunk(4999)}));
    EXPECT_FALSE(journal->complete());
    ASSERT_TRUE(journal->mark_complete().ok());
  }
  EXPECT_TRUE(open()->complete());
}

TEST_F(JournalTest, WhatItForgetsIsNotDurableAndNothingIsComplete) {
  {
    const auto journal = open();
    ASSERT_TRUE(journal->record({chunk(0), chunk(1), chunk(4999)}).ok());
    ASSERT_TRUE(journal->mark_complete().ok());
    ASSERT_TRUE(journal->forget({1, 7}).ok());
    EXPECT_EQ(journal->forget({kChunks}).error().kind(), ErrorKind::InvalidArgument);
  }
  for (const std::uint64_t slot : {kSlotA, kSlotB}) {  // a torn slot does not bring it back
    flip(slot + 30);
    const auto journal = open();
    EXPECT_EQ(durable_of(*journal), (std::vector{chunk(0), chunk(4999)}));
    EXPECT_FALSE(journal->complete());
    flip(slot + 30);
  }
}

TEST_F(JournalTest, InvalidItStaysThroughATornSlotUntilItIsCreatedAnew) {
  {
    const auto journal = open();
    ASSERT_TRUE(journal->record({chunk(0), chunk(1)}).ok());
    EXPECT_FALSE(journal->invalid());
    ASSERT_TRUE(journal->invalidate().ok());
    ASSERT_TRUE(journal->record({chunk(2)}).ok()) << "a checkpoint on its way";
  }
  for (const std::uint64_t slot : {kSlotA, kSlotB}) {
    flip(slot + 30);
    const auto journal = open();
    EXPECT_EQ(found, Content::Valid);
    EXPECT_TRUE(journal->invalid());
    EXPECT_FALSE(journal->complete());
    flip(slot + 30);
  }
  const auto journal = open();
  ASSERT_TRUE(journal->create(identity()).ok());
  EXPECT_FALSE(journal->invalid());
}

TEST_F(JournalTest, ASecondOpenerIsRefused) {
  const auto journal = open();
  const auto second = JournalFile::open(path);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), "VMF-DST-BUSY");
  EXPECT_EQ(second.error().kind(), ErrorKind::Unavailable);
}

TEST_F(JournalTest, RefusesChunksThatDoNotExist) {
  const auto journal = open();
  EXPECT_EQ(journal->record({chunk(kChunks)}).error().kind(), ErrorKind::InvalidArgument);
  EXPECT_EQ(journal->record({{1, LeafDigest(32)}}).error().kind(), ErrorKind::InvalidArgument);
}

TEST(JournalIdentityTest, Ns28TheFirstDifferenceIsNamed) {
  struct Case {
    const char* name;
    void (*change)(JournalIdentity&);
    const char* reason;
  };
  const Case cases[] = {
      {"disk", [](auto& i) { i.source[0].second = "B"; },
       "source disk_uuid changed from 'A' to 'B'"},
      {"snapshot", [](auto& i) { i.source[1].second = "8"; }, "source change_id changed"},
      {"size", [](auto& i) { i.size_bytes += 512; }, "disk size changed"},
      {"target inode", [](auto& i) { i.target[0].second = "13"; }, "target inode changed"},
      {"hash", [](auto& i) { i.hash = "sha256"; }, "hash changed"},
      {"job", [](auto& i) { i.job = "other"; }, "job changed"},
      {"more is told", [](auto& i) { i.source.emplace_back("x", "1"); }, "source x is new"},
      {"less is told", [](auto& i) { i.target.pop_back(); }, "target no longer tells mark"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    JournalIdentity changed = identity();
    c.change(changed);
    EXPECT_THAT(identity_difference(identity(), changed), HasSubstr(c.reason));
  }
  EXPECT_EQ(identity_difference(identity(), identity()), "");
}

TEST_F(JournalTest, Ns27TornPartsFallBackToTheOtherOrStartOver) {
  // After create both slots have sequence 1; records go to B (2), A (3).
  struct Case {
    const char* name;
    std::vector<std::uint64_t> flips;
    Content content;
    std::vector<DurableChunk> durable;
  };
  const std::vector all{chunk(1), chunk(2)};
  const Case cases[] = {
      {"whole", {}, Content::Valid, all},
      {"slot A torn: the older slot B", {kSlotA + 30}, Content::Valid, {chunk(1)}},
      {"slot A, its checksum", {kSlotA + 12}, Content::Valid, {chunk(1)}},
      {"slot A, its sequence", {kSlotA + 1}, Content::Valid, {chunk(1)}},
      {"slot B torn: A is newer anyway", {kSlotB + 100}, Content::Valid, all},
      {"both slots", {kSlotA + 30, kSlotB + 30}, Content::Corrupt, {}},
      {"header", {3}, Content::Valid, all},
      {"header's identity", {40}, Content::Valid, all},
      {"header copy", {kHeaderB + 9}, Content::Valid, all},
      {"both headers", {40, kHeaderB + 40}, Content::Corrupt, {}},
      {"a leaf: only its chunk is lost", {kLeaves + 20 + 3}, Content::Valid, {chunk(2)}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    ::unlink(path.c_str());
    {
      const auto journal = open();
      ASSERT_TRUE(journal->record({chunk(1)}).ok());
      ASSERT_TRUE(journal->record({chunk(2)}).ok());
    }
    for (const std::uint64_t offset : c.flips) flip(offset);
    damage.clear();
    const auto journal = open();
    EXPECT_EQ(found, c.content);
    EXPECT_EQ(durable_of(*journal), c.durable);
    EXPECT_EQ(damage.empty(), c.content == Content::Valid);
    ASSERT_TRUE(journal->record({chunk(9)}).ok());  // and goes on
  }
}

TEST_F(JournalTest, Ns27CutShortAnywhereItIsNeverBelievedTooMuch) {
  {
    const auto journal = open();
    ASSERT_TRUE(journal->record({chunk(1), chunk(100), chunk(4000)}).ok());
  }
  const auto whole = *read_file(path);
  for (std::uint64_t length = 0; length < whole.size(); length += 997) {
    SCOPED_TRACE(length);
    {
      std::ofstream file(path, std::ios::binary | std::ios::trunc);
      file.write(whole.data(), static_cast<std::streamsize>(length));
    }
    const auto journal = open();
    for (const DurableChunk& known : durable_of(*journal)) {
      EXPECT_EQ(known, chunk(known.index));
    }
  }
}

TEST_F(JournalTest, AnEarlierJournalsLeavesAreNotBelieved) {
  ASSERT_TRUE(open()->record({chunk(5)}).ok());
  const auto old = *read_file(path);
  JournalIdentity other = identity();
  other.job = "other";
  ASSERT_TRUE((*JournalFile::open(path))->create(other).ok());
  // A file system that brings old blocks back behind the new header.
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(write_fully(fd.get(), kSlotA, std::as_bytes(std::span(old).subspan(kSlotA))).ok());
  EXPECT_EQ((*JournalFile::open(path))->content(), Content::Corrupt);
}

TEST(ChunkCodecTest, DecodesWhatItEncoded) {
  const LeafDigest zero(16);
  const std::vector<std::vector<DurableChunk>> cases = {
      {},
      {chunk(0)},
      {chunk(4999)},
      {chunk(1), chunk(2), chunk(3)},
      {{1, zero}, {2, zero}, {3, zero}},
      {chunk(0), {1, zero}, {2, zero}, chunk(3), chunk(9), {10, zero}},
      {{7, LeafDigest(32, std::byte{1})}, {8, LeafDigest(32, std::byte{2})}},
  };
  for (const auto& chunks : cases) {
    const auto decoded = decode_chunks(encode_chunks(chunks), kChunks);
    ASSERT_TRUE(decoded.ok()) << to_string(decoded.error());
    EXPECT_EQ(*decoded, chunks);
  }
}

TEST(ChunkCodecTest, RunsOfOneDigestAreShort) {
  std::vector<DurableChunk> chunks;
  for (std::uint64_t i = 0; i < 100'000; ++i) chunks.push_back({i, LeafDigest(16)});
  EXPECT_LT(encode_chunks(chunks).size(), 64u);
}

TEST(ChunkCodecTest, EveryDamageIsFound) {
  const std::string good = encode_chunks({chunk(1), chunk(2), chunk(70)});
  for (std::size_t i = 0; i < good.size(); ++i) {
    EXPECT_EQ(decode_chunks(good.substr(0, i), kChunks).error().kind(), ErrorKind::DataLoss);
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 4);
    EXPECT_FALSE(decode_chunks(bad, kChunks).ok()) << i;
  }
  EXPECT_EQ(decode_chunks(good, 70).error().kind(), ErrorKind::InvalidArgument);
  EXPECT_TRUE(decode_chunks(good, 71).ok());
}

}  // namespace
}  // namespace vmferry
