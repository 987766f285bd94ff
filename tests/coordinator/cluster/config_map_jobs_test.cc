#include "coordinator/cluster/config_map_jobs.h"

#include <gtest/gtest.h>

#include "tests/coordinator/embedded/store_support.h"

namespace vmferry::cluster {
namespace {

using nlohmann::json;

JobRecord record(const std::string& job, protocol::Attempt attempt = 1) {
  JobRecord r;
  r.job = JobId{job};
  r.import_key = "team/web";
  r.ns = "team";
  r.disk = "Hard disk 1";
  r.attempt = attempt;
  r.writer = Writer{AgentId{"node-1"}, "inc", std::chrono::milliseconds(30'000)};
  r.epoch = "e1";
  r.identity = "{}";
  return r;
}

class ConfigMapJobsTest : public embedded::StoreFixture {
 protected:
  ConfigMapJobs jobs(std::int64_t term, const std::string& leader = "a") {
    return {*store_, *store_, "n",
            term,    leader,  [this](std::string_view why) { deposed_ = std::string(why); },
            Logger()};
  }
  std::string deposed_;
};

TEST_F(ConfigMapJobsTest, RecordsComeBackAsTheyWere) {
  ConfigMapJobs first = jobs(1);
  ASSERT_TRUE(first.load({}));
  ASSERT_TRUE(first.save(record("uid-1/web-disk-0"), {}));
  ASSERT_TRUE(first.save(record("uid-1/web-disk-1"), {}));
  ASSERT_TRUE(first.save(record("uid-2/db"), {}));
  ASSERT_TRUE(first.save(record("uid-1/web-disk-0", 2), {}));
  EXPECT_EQ(find("vmferry-jobs-uid-1")->json()["data"].size(), 2U);

  ConfigMapJobs second = jobs(2);
  const auto loaded = second.load({});
  ASSERT_TRUE(loaded) << to_string(loaded.error());
  EXPECT_EQ(*loaded, (std::vector<JobRecord>{record("uid-1/web-disk-0", 2),
                                             record("uid-1/web-disk-1"), record("uid-2/db")}));
  ASSERT_TRUE(second.remove(JobId{"uid-1/web-disk-0"}, {}));
  EXPECT_EQ(find("vmferry-jobs-uid-1")->json()["data"].size(), 1U);
  ASSERT_TRUE(second.remove(JobId{"uid-1/web-disk-1"}, {}));
  EXPECT_FALSE(find("vmferry-jobs-uid-1")) << "with its last record";
  ASSERT_TRUE(second.remove(JobId{"uid-1/web-disk-1"}, {})) << "of nothing";
  ASSERT_TRUE(second.save(record("uid-1/web-disk-1", 7), {})) << "and made anew";
}

// A leader that woke up late: its successor has read everything already.
TEST_F(ConfigMapJobsTest, APredecessorCannotStoreAnAttempt) {
  ConfigMapJobs old = jobs(1);
  ASSERT_TRUE(old.load({}));
  ASSERT_TRUE(old.save(record("uid-1/a"), {}));
  ConfigMapJobs fresh = jobs(2);
  ASSERT_TRUE(fresh.load({}));
  const auto late = old.save(record("uid-1/a", 2), {});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().kind(), ErrorKind::Canceled);
  EXPECT_NE(deposed_.find("vmferry-jobs-uid-1"), std::string::npos);
  ASSERT_TRUE(fresh.save(record("uid-1/a", 2), {}));

  // One that it stores for an import that had none is found by the successor's first write there.
  deposed_.clear();
  ASSERT_TRUE(old.save(record("uid-9/z"), {}));
  EXPECT_FALSE(fresh.save(record("uid-9/z", 1), {}));
  EXPECT_NE(deposed_.find("vmferry-jobs-uid-9"), std::string::npos);
}

TEST_F(ConfigMapJobsTest, APersonsEditIsNoOtherLeader) {
  ConfigMapJobs leader = jobs(3);
  ASSERT_TRUE(leader.load({}));
  ASSERT_TRUE(leader.save(record("uid-1/a"), {}));
  ASSERT_TRUE(patch("vmferry-jobs-uid-1", R"({"metadata": {"labels": {"note": "mine"}}})"));
  ASSERT_TRUE(leader.save(record("uid-1/a", 2), {}));
  ASSERT_TRUE(remove("vmferry-jobs-uid-1"));
  ASSERT_TRUE(leader.save(record("uid-1/a", 3), {})) << "even when it was removed";
  EXPECT_EQ(deposed_, "");
}

// Terms start again when somebody removes the Lease; they go on where the records ended.
TEST_F(ConfigMapJobsTest, ALowTermAfterTheLeaseWasRemovedStillWins) {
  ConfigMapJobs old = jobs(40);
  ASSERT_TRUE(old.load({}));
  ASSERT_TRUE(old.save(record("uid-1/a"), {}));
  ConfigMapJobs fresh = jobs(1);
  ASSERT_TRUE(fresh.load({}));
  ASSERT_TRUE(fresh.save(record("uid-1/a", 2), {}));
  EXPECT_EQ(deposed_, "");
  EXPECT_FALSE(old.save(record("uid-1/a", 3), {}));
}

// Somebody removed the Lease of a leader that had stored nothing yet, and another one made it anew.
TEST_F(ConfigMapJobsTest, OfTwoLeadersOfOneTermOnlyOneStoresAnAttempt) {
  ConfigMapJobs one = jobs(1, "a");
  ConfigMapJobs other = jobs(1, "b");
  ASSERT_TRUE(one.load({}));
  ASSERT_TRUE(other.load({}));
  ASSERT_TRUE(one.save(record("uid-1/x"), {}));
  const auto second = other.save(record("uid-1/x"), {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind(), ErrorKind::Canceled);
  EXPECT_NE(deposed_.find("vmferry-jobs-uid-1"), std::string::npos);
}

TEST_F(ConfigMapJobsTest, AnUnreadableRecordStopsTheStart) {
  make(kube::types::kConfigMap,
       config_map("vmferry-jobs-uid-1", {{"labels", {{"vmferry.io/jobs", "true"}}}}));
  ConfigMapJobs leader = jobs(1);
  const auto loaded = leader.load({});
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().kind(), ErrorKind::DataLoss);
  EXPECT_NE(loaded.error().message().find("n/vmferry-jobs-uid-1"), std::string::npos);
}

TEST_F(ConfigMapJobsTest, LongTextsAreCut) {
  JobRecord long_one = record("uid-1/a");
  long_one.history.assign(12, std::string(5000, 'x'));
  long_one.outcome = JobOutcome{};
  long_one.outcome->error = protocol::WireError{ErrorKind::DataLoss, "C", std::string(5000, 'y')};
  ConfigMapJobs leader = jobs(1);
  ASSERT_TRUE(leader.save(long_one, {}));
  EXPECT_LT(find("vmferry-jobs-uid-1")->json().dump().size(), 4500U);
}

}  // namespace
}  // namespace vmferry::cluster
