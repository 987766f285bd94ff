#include "coordinator/fleet/journal_store.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace vmferry {
namespace {

namespace fs = std::filesystem;

const JobId kJob{"uid-1/disk 1"};

class JournalStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string path = ::testing::TempDir() + "vmferry-store-XXXXXX";
    ASSERT_NE(::mkdtemp(path.data()), nullptr);
    directory = path;
  }
  void TearDown() override { fs::remove_all(directory); }
  JournalStore open() {
    Result<JournalStore> store = JournalStore::open(directory);
    EXPECT_TRUE(store);
    return *std::move(store);
  }
  static protocol::JournalUpdate update(const std::string& epoch, const std::string& chunks) {
    return {kJob, 1, epoch, "identity", false, 1, chunks};
  }
  std::string journal_file() const { return directory + "/jobs/uid-1%2Fdisk%201/journal"; }

  std::string directory;
};

JobRecord record() {
  JobRecord r;
  r.job = kJob;
  r.import_key = "ns/vm";
  r.ns = "ns";
  r.disk = "boot";
  r.datastore = "ds";
  r.provider = "vc";
  r.source_host = "esx";
  r.budget = {.host_bytes = 8u << 20, .host_connections = 1, .provider_connections = 2};
  r.attempt = 3;
  r.failures = 1;
  r.writer = Writer{AgentId{"agent-1"}, "inc", std::chrono::milliseconds(5000)};
  r.history = {"agent-2: lost after 34%"};
  return r;
}

TEST_F(JournalStoreTest, RecordsComeBackAsTheyWere) {
  JobRecord ended = record();
  ended.job = JobId{"other"};
  ended.writer.reset();
  ended.outcome = JobOutcome{};
  ended.outcome->error = protocol::WireError{ErrorKind::DataLoss, "CODE", "it broke"};
  ended.outcome->digest = "xxh3-128:00";
  ended.outcome->moved_bytes = 1ull << 50;
  {
    JournalStore store = open();
    ASSERT_TRUE(store.save(record()));
    ASSERT_TRUE(store.save(ended));
  }
  const Result<std::vector<JobRecord>> loaded = open().load();
  ASSERT_TRUE(loaded);
  ASSERT_EQ(loaded->size(), 2u);
  for (const JobRecord& r : *loaded) EXPECT_EQ(r, r.job == kJob ? record() : ended);
}

TEST_F(JournalStoreTest, AnUnreadableRecordStopsTheStart) {
  JournalStore store = open();
  ASSERT_TRUE(store.save(record()));
  std::ofstream(directory + "/jobs/uid-1%2Fdisk%201/record.json") << "{";
  const Result<std::vector<JobRecord>> loaded = store.load();
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().kind(), ErrorKind::DataLoss);
}

TEST_F(JournalStoreTest, OnlyOneCoordinatorHasTheDirectory) {
  JournalStore store = open();
  const Result<JournalStore> second = JournalStore::open(directory);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind(), ErrorKind::Unavailable);
}

TEST_F(JournalStoreTest, ChunksAreKeptInOrder) {
  JournalStore store = open();
  ASSERT_TRUE(store.save(record()));
  EXPECT_EQ(store.journal(kJob)->epoch, "");
  EXPECT_TRUE(*store.append(update("e1", std::string("\0a", 2)))) << "nothing was known of it";
  EXPECT_FALSE(*store.append(update("e1", "b")));
  const Result<JournalStore::Stored> stored = store.journal(kJob);
  ASSERT_TRUE(stored);
  EXPECT_EQ(stored->epoch, "e1");
  EXPECT_EQ(stored->identity, "identity");
  EXPECT_EQ(stored->chunks, (std::vector<std::string>{std::string("\0a", 2), "b"}));
}

TEST_F(JournalStoreTest, AnotherEpochStartsOver) {
  JournalStore store = open();
  ASSERT_TRUE(store.save(record()));
  ASSERT_TRUE(store.append(update("e1", "a")));
  ASSERT_TRUE(store.append(update("e2", "b")));
  EXPECT_EQ(store.journal(kJob)->epoch, "e2");
  EXPECT_EQ(store.journal(kJob)->chunks, std::vector<std::string>{"b"});
}

// Wherever the file was cut or damaged: what stands before is read, and appending goes on.
TEST_F(JournalStoreTest, ATornTailIsCutOff) {
  JournalStore store = open();
  ASSERT_TRUE(store.save(record()));
  ASSERT_TRUE(store.append(update("e1", "aaaa")));
  const std::uintmax_t whole = fs::file_size(journal_file());
  ASSERT_TRUE(store.append(update("e1", "bbbb")));
  const std::uintmax_t more = fs::file_size(journal_file());
  for (std::uintmax_t size = whole; size < more; ++size) {
    SCOPED_TRACE(size);
    fs::resize_file(journal_file(), size);
    EXPECT_EQ(store.journal(kJob)->chunks, std::vector<std::string>{"aaaa"});
    ASSERT_TRUE(store.append(update("e1", "bbbb")));
    EXPECT_EQ(store.journal(kJob)->chunks, (std::vector<std::string>{"aaaa", "bbbb"}));
  }
  {
    std::fstream file(journal_file(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(more) - 1);
    file.put('X');
  }
  EXPECT_EQ(store.journal(kJob)->chunks, std::vector<std::string>{"aaaa"});
}

TEST_F(JournalStoreTest, RemovesEverythingOfAJob) {
  JournalStore store = open();
  ASSERT_TRUE(store.save(record()));
  ASSERT_TRUE(store.append(update("e1", "a")));
  ASSERT_TRUE(store.remove(kJob));
  ASSERT_TRUE(store.remove(kJob));
  EXPECT_TRUE(store.load()->empty());
  EXPECT_TRUE(fs::is_empty(directory + "/jobs"));
}

}  // namespace
}  // namespace vmferry
