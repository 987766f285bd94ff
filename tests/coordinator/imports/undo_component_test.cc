// How the source is started again when an import is undone, against a real engine's API.
#include "common/catalogue.h"
#include "tests/coordinator/imports/lifecycle_scene.h"

namespace vmferry::imports {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class UndoTest : public LifecycleScene {};

TEST_F(UndoTest, ASourceCountsAsStartedAgainOnceItIsSeenUp) {
  begin({{"status", "up"}, {"start_seconds", 1.0}});
  make_import();
  ASSERT_TRUE(reaches("CopyingDisks"));
  ASSERT_TRUE(store_->remove(kube::types::kVirtualMachineImport, {"n", "web"},
                             kube::Propagation::Background, {}, {}));
  ASSERT_TRUE(pass_until([&] { return bed_->requests("POST", "/start") == 1; }));
  ASSERT_TRUE(object()) << "it holds on until the source runs";
  EXPECT_TRUE(object()->has_finalizer(api::kRestoreFinalizer));
  EXPECT_THAT(events(), Not(Contains(StartsWith("SourceRestored: "))));
  ASSERT_TRUE(pass_until([&] { return !object(); }));
  EXPECT_THAT(events(), Contains(StartsWith("SourceRestored: ")));
  const json vms = bed_->state()["vms"];
  for (const json& vm : vms) EXPECT_EQ(vm["status"], "up");
  EXPECT_EQ(bed_->requests("POST", "/start"), 1);
}

// The engine takes the request, and the VM stays down.
TEST_F(UndoTest, ASourceThatStaysDownIsAskedToStartEveryHalfMinute) {
  begin({{"status", "up"}});
  make_import();
  ASSERT_TRUE(reaches("CopyingDisks"));
  bed_->post("/fault", {{"path_regex", "/start$"},
                        {"method", "POST"},
                        {"times", 0},
                        {"status", 200},
                        {"body", "<action><status>complete</status></action>"}});
  ASSERT_TRUE(store_->remove(kube::types::kVirtualMachineImport, {"n", "web"},
                             kube::Propagation::Background, {}, {}));
  const auto asked = [&] { return bed_->requests("POST", "/start"); };
  ASSERT_TRUE(pass_until([&] { return asked() == 1; }));
  const auto seconds_pass = [&](int seconds) {
    const int before = asked();
    for (int i = 0; i < seconds; ++i) {
      clock_.advance(std::chrono::seconds(1));
      EXPECT_TRUE(pass());
    }
    return asked() - before;
  };
  EXPECT_EQ(seconds_pass(29), 0);
  EXPECT_EQ(seconds_pass(2), 1);
  EXPECT_EQ(seconds_pass(60), 2);
  start();  // a coordinator that has just started does not know when it was asked
  EXPECT_EQ(seconds_pass(29), 1);
  EXPECT_EQ(seconds_pass(2), 1);
  ASSERT_TRUE(object());
  EXPECT_THAT(events(), Not(Contains(StartsWith("SourceRestored: "))));
  bed_->post("/clear-faults", json::object());
  clock_.advance(std::chrono::seconds(31));
  ASSERT_TRUE(pass_until([&] { return !object(); }));
  EXPECT_THAT(events(), Contains(StartsWith("SourceRestored: ")));
}

// What an import holds when its engine stays away: deleted, it is let go at last; failed, never.
TEST_F(UndoTest, OfASourceThatStaysAwayOnlyADeletedImportIsLetGo) {
  begin({{"status", "up"}});
  make_import();
  ASSERT_TRUE(reaches("CopyingDisks"));
  const json away = {
      {"path_regex", "."}, {"method", ""}, {"times", 0}, {"status", 503}, {"body", ""}};
  bed_->post("/fault", away);
  ASSERT_TRUE(store_->remove(kube::types::kVirtualMachineImport, {"n", "web"},
                             kube::Propagation::Background, {}, {}));
  for (int minute = 0; minute < 29; ++minute) {
    clock_.advance(std::chrono::minutes(1));
    (void)pass();
  }
  ASSERT_TRUE(object());
  EXPECT_TRUE(object()->has_finalizer(api::kRestoreFinalizer));
  clock_.advance(std::chrono::minutes(2));
  ASSERT_TRUE(pass_until([&] { return !object(); }));
  EXPECT_THAT(events(), Contains(StartsWith("SourceNotRestored: Gave up")));
}

TEST_F(UndoTest, AFailedImportWaitsForItsSourceAsLongAsItTakes) {
  begin({{"status", "up"}});
  make_import();
  bed_->post(
      "/fault",
      {{"path_regex", "/start$"}, {"method", "POST"}, {"times", 0}, {"status", 503}, {"body", ""}});
  spoiled_->refuse("create", "PersistentVolumeClaim",
                   make_error(ErrorKind::InvalidArgument, "claims are forbidden here"));
  ASSERT_TRUE(pass_until([&] { return bed_->requests("POST", "/start") > 0; }));
  for (int hour = 0; hour < 8; ++hour) {
    clock_.advance(std::chrono::hours(1));
    (void)pass();
  }
  EXPECT_EQ(condition("Succeeded"), "");
  EXPECT_TRUE(object()->has_finalizer(api::kRestoreFinalizer));
  EXPECT_EQ(condition("Processing"), "False/ProcessingFailed");
  EXPECT_THAT(message("Processing"), AllOf(HasSubstr("claims are forbidden here"), HasSubstr("503"),
                                           HasSubstr(std::string(code::kSourceUnreachable))));
  EXPECT_THAT(events(), Contains(AllOf(StartsWith("CleanUpWaits: "), HasSubstr("503"))));
  const auto told = events().size();
  clock_.advance(std::chrono::hours(1));
  (void)pass();
  EXPECT_EQ(events().size(), told);
  bed_->post("/clear-faults", json::object());
  ASSERT_TRUE(pass_until([&] { return condition("Succeeded") != ""; }));
  EXPECT_EQ(condition("Succeeded"), "False/DataVolumeCreationFailed");
  EXPECT_THAT(message("Processing"), Not(HasSubstr("503")));
  EXPECT_EQ(message("Processing"), message("Succeeded"));
  EXPECT_THAT(events(), Contains(StartsWith("SourceRestored: ")));
  EXPECT_THAT(events(), Not(Contains(StartsWith("SourceNotRestored: "))));
}

}  // namespace
}  // namespace vmferry::imports
