// How the source is started again when an import is undone, against a real engine's API.
#include "common/catalogue.h"
#include "coordinator/imports/plan.h"
#include "tests/coordinator/imports/lifecycle_scene.h"

namespace vmferry::imports {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class UndoTest : public LifecycleScene {
 protected:
  // Every request from now on.
  void engine_is_away() {
    bed_->post("/fault", {{"path_regex", "."}, {"times", 0}, {"status", 503}, {"body", ""}});
  }
  void delete_import() {
    ASSERT_TRUE(store_->remove(kube::types::kVirtualMachineImport, {"n", "web"},
                               kube::Propagation::Background, {}, {}));
  }
  // Seldom, for a request that fails is repeated a little in real time.
  void pass_for(int minutes) {
    for (int minute = 0; minute < minutes; minute += 4) {
      clock_.advance(std::chrono::minutes(4));
      (void)pass();
    }
  }
  // Both disks are being read, and the VM was shut down for it.
  void begin_reading() {
    begin({{"status", "up"}});
    make_import();
    ASSERT_TRUE(pass_until([&] {
      const json transfers = bed_->state()["transfers"];
      return transfers.size() == 2 && transfers[0]["phase"] == "transferring" &&
             transfers[1]["phase"] == "transferring";
    }));
  }
  void expect_source_as_before() {
    const json state = bed_->state();
    for (const json& vm : state["vms"]) EXPECT_EQ(vm["status"], "up");
    for (const json& transfer : state["transfers"]) EXPECT_FALSE(transfer["alive"]) << transfer;
    EXPECT_THAT(events(), Contains(StartsWith("SourceRestored: ")));
    EXPECT_THAT(events(), Each(Not(StartsWith("SourceNotRestored: "))));
  }
};

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
  engine_is_away();
  delete_import();
  pass_for(28);
  ASSERT_TRUE(object());
  EXPECT_EQ(condition("Processing"), "True/Pending");
  EXPECT_THAT(message("Processing"), AllOf(HasSubstr("deleted"), HasSubstr("503"),
                                           HasSubstr(std::string(code::kSourceUnreachable))));
  EXPECT_TRUE(object()->has_finalizer(api::kRestoreFinalizer));
  pass_for(8);
  ASSERT_EQ(object(), std::nullopt);
  EXPECT_THAT(events(), Contains(StartsWith("SourceNotRestored: Gave up")));
}

// The half hour is one of trying. The transfers take their time to end, too.
TEST_F(UndoTest, ADeletionThatNobodySawForAnHourIsUndoneAllTheSame) {
  begin_reading();
  delete_import();
  clock_.advance(std::chrono::hours(1));
  start();
  ASSERT_TRUE(pass_until([&] { return !object(); }));
  expect_source_as_before();
}

TEST_F(UndoTest, ASourceThatIsAwayWhenADeletionIsSeenLateIsWaitedFor) {
  begin_reading();
  delete_import();
  clock_.advance(std::chrono::hours(1));
  engine_is_away();
  start();
  EXPECT_FALSE(pass());
  pass_for(20);
  start();  // what the one before had tried, this one does not know
  pass_for(20);
  ASSERT_TRUE(object());
  EXPECT_TRUE(object()->has_finalizer(api::kRestoreFinalizer));
  EXPECT_EQ(ledger_of(*object())->openings.size(), 2u);
  bed_->post("/clear-faults", json::object());
  ASSERT_TRUE(pass_until([&] { return !object(); }));
  expect_source_as_before();
}

// Nobody asked the source in between: the process was stopped, or had other work.
TEST_F(UndoTest, HalfAnHourWithOneTryIsNoHalfHourOfTrying) {
  begin_reading();
  delete_import();
  engine_is_away();
  EXPECT_FALSE(pass());
  clock_.advance(std::chrono::hours(2));
  EXPECT_FALSE(pass());
  bed_->post("/clear-faults", json::object());
  ASSERT_TRUE(pass_until([&] { return !object(); }));
  expect_source_as_before();
}

// A disk that cannot be let go of is no reason to leave the machine off.
TEST_F(UndoTest, AMachineIsStartedAlsoWhenItsDisksAreGivenUp) {
  begin_reading();
  bed_->post("/fault",
             {{"path_regex", "/(finalize|cancel)$"}, {"times", 0}, {"status", 500}, {"body", ""}});
  delete_import();
  pass_for(40);
  ASSERT_EQ(object(), std::nullopt);
  EXPECT_THAT(events(), Contains(StartsWith("SourceNotRestored: Gave up")));
  EXPECT_EQ(bed_->requests("POST", "/start"), 1);
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

// Two machines of one identity must not run at once.
TEST_F(UndoTest, TheSourceRunsAgainOnlyWhenTheTargetIsGone) {
  begin_reading();
  json disks = object()->json()["status"]["disks"];
  for (json& disk : disks) disk["phase"] = "Done";
  ASSERT_TRUE(store_->patch_status(kube::types::kVirtualMachineImport, {"n", "web"},
                                   {{"status", {{"disks", disks}}}}, {}));
  start();
  const auto vm = [&] { return find("web", kube::types::kVirtualMachine); };
  spoiled_->spoil = [&](std::string_view verb, const kube::ResourceType&,
                        const std::string&) -> std::optional<Error> {
    if (verb == "patch_status" && vm()) return make_error(ErrorKind::Unavailable, "it is away");
    return std::nullopt;
  };
  ASSERT_TRUE(pass_until([&] { return vm().has_value(); }));
  // As KubeVirt's, until its instance has ended.
  ASSERT_TRUE(store_->patch(kube::types::kVirtualMachine, {"n", "web"},
                            {{"metadata", {{"finalizers", {"kubevirt.io/controller"}}}}}, {}, {}));
  delete_import();
  spoiled_->spoil = nullptr;
  ASSERT_TRUE(pass_until([&] { return vm()->deleting(); }));
  pass_for(10);
  ASSERT_TRUE(object());
  EXPECT_EQ(bed_->requests("POST", "/start"), 0);
  EXPECT_THAT(message("Processing"), HasSubstr("VirtualMachine 'n/web' to be gone"));
  ASSERT_TRUE(store_->patch(kube::types::kVirtualMachine, {"n", "web"},
                            {{"metadata", {{"finalizers", json::array()}}}}, {}, {}));
  ASSERT_TRUE(pass_until([&] { return !object(); }));
  EXPECT_EQ(vm(), std::nullopt);
  expect_source_as_before();
}

TEST_F(UndoTest, ADamagedPlanIsNoReasonToLeaveAnythingBehind) {
  begin_reading();
  const auto damage = [&](const std::string& name) {
    const std::string uid = object(name)->uid();
    ASSERT_TRUE(store_->patch(kube::types::kConfigMap, {"n", plan_config_map_name(uid)},
                              {{"data", {{"plan", "{"}}}}, {}, {}));
  };
  damage("web");
  start();
  EXPECT_TRUE(pass()) << "it is not believed, and waits";
  delete_import();
  ASSERT_TRUE(pass_until([&] { return !object(); }));
  expect_source_as_before();
  EXPECT_TRUE(all_of(kube::types::kPersistentVolumeClaim).empty());
}

}  // namespace
}  // namespace vmferry::imports
