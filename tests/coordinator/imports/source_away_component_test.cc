// Imports whose source or its secret goes away, pass by pass, against a real engine's API.
#include <gmock/gmock.h>

#include "common/catalogue.h"
#include "tests/coordinator/fleet/fake_agent.h"
#include "tests/coordinator/imports/lifecycle_scene.h"

namespace vmferry::imports {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class SourceAwayTest : public LifecycleScene {
 protected:
  void source_goes_away() {
    bed_->post("/fault",
               {{"path_regex", "."}, {"method", ""}, {"times", 0}, {"status", 503}, {"body", ""}});
  }
  void delete_secret() {
    ASSERT_TRUE(
        store_->remove(kube::types::kSecret, {"n", "s"}, kube::Propagation::Background, {}, {}));
  }
  void delete_import() {
    ASSERT_TRUE(store_->remove(kube::types::kVirtualMachineImport, {"n", "web"},
                               kube::Propagation::Background, {}, {}));
  }
  std::string power() { return bed_->state()["vms"].begin()->at("status"); }
  void somebody_starts_the_vm() {
    bed_->post("/vm", {{"id", bed_->vm("web")["id"]}, {"status", "up"}});
  }
  bool all_disks_are(const std::string& phase) {
    const auto disks = status().disks;
    return disks.size() == 2 && std::ranges::count(disks, phase, &api::DiskStatus::phase) == 2;
  }
};

// `kubectl delete -f` of what `kubectl apply -f` made, in the middle of a shutdown.
TEST_F(SourceAwayTest, DeletedWithItsSecretItStartsTheSourceAgain) {
  begin({{"status", "up"}});
  make_import();
  ASSERT_TRUE(reaches("CopyingDisks"));
  ASSERT_EQ(power(), "down");
  clock_.advance(std::chrono::minutes(1));
  delete_secret();
  delete_import();
  ASSERT_TRUE(pass_until([&] { return !object(); }));
  EXPECT_EQ(power(), "up");
  EXPECT_THAT(events(), Contains(StartsWith("SourceRestored: ")));
}

TEST_F(SourceAwayTest, AfterATakeoverTheMissingSecretIsAskedForAtOnce) {
  begin({{"status", "up"}});
  make_import();
  ASSERT_TRUE(reaches("CopyingDisks"));
  delete_secret();
  delete_import();
  start();
  EXPECT_FALSE(pass());
  EXPECT_THAT(message("Processing"), HasSubstr("secret 'n/s' does not exist"));
  EXPECT_THAT(message("Processing"), HasSubstr("put that secret back"));
  make_secret(bed_->password());
  ASSERT_TRUE(pass_until([&] { return !object(); }));
  EXPECT_EQ(power(), "up");
}

// Everything is copied: what is left is the cluster's.
TEST_F(SourceAwayTest, AFinishedCopyBecomesAVmWhetherTheSourceAnswersOrNot) {
  for (const bool taken_over : {false, true}) {
    SCOPED_TRACE(taken_over);
    if (bed_) bed_->post("/clear-faults", json::object());
    if (!bed_) begin();
    const std::string name = taken_over ? "again" : "web";
    make_import({{"targetVmName", name}}, {}, name);
    ASSERT_TRUE(
        pass_until([&] { return condition("Processing", name) == "True/CopyingDisks"; }, name));
    make(kube::types::kVirtualMachine,
         kube::Object(json{{"metadata", {{"name", name}, {"namespace", "n"}}}}));
    {
      const test::FakeAgent agent(
          {.address = fleet_->address(), .server_key = keys_.public_key, .id = "a", .node = "a"});
      ASSERT_TRUE(pass_until(
          [&] { return condition("Valid", name) == "False/DuplicateTargetVMName"; }, name));
    }
    source_goes_away();
    if (taken_over) start();
    clock_.advance(std::chrono::minutes(2));
    ASSERT_TRUE(store_->remove(kube::types::kVirtualMachine, {"n", name},
                               kube::Propagation::Background, {}, {}));
    ASSERT_TRUE(pass_until([&] { return condition("Succeeded", name) != ""; }, name));
    EXPECT_EQ(condition("Succeeded", name), "True/VirtualMachineReady");
  }
}

TEST_F(SourceAwayTest, AVmThatIsStartedWhileItsDisksOnlyWaitIsShutDownOnceMore) {
  begin({{"status", "up"}});
  make_import();
  ASSERT_TRUE(pass_until([&] { return all_disks_are("Queued"); }));
  const auto first = ledger().openings;
  somebody_starts_the_vm();
  clock_.advance(std::chrono::seconds(61));
  ASSERT_TRUE(pass_until([&] { return bed_->requests("POST", "/shutdown") == 2; }));
  EXPECT_EQ(condition("Succeeded"), "");
  EXPECT_THAT(events(), Contains(StartsWith("SourceStarted: ")));
  ASSERT_TRUE(pass_until([&] { return all_disks_are("Queued"); }));
  EXPECT_EQ(power(), "down");
  EXPECT_EQ(ledger().openings.size(), 2u);
  for (const auto& [disk, handle] : ledger().openings) EXPECT_NE(handle, first.at(disk));

  const test::FakeAgent agent(
      {.address = fleet_->address(), .server_key = keys_.public_key, .id = "a", .node = "a"});
  ASSERT_TRUE(pass_until([&] { return condition("Succeeded") != ""; }));
  EXPECT_EQ(condition("Succeeded"), "True/VirtualMachineReady");
}

TEST_F(SourceAwayTest, AVmThatIsStartedWhileADiskIsReadFailsItsImport) {
  begin({{"status", "up"}});
  make_import();
  ASSERT_TRUE(pass_until([&] { return all_disks_are("Queued"); }));
  const test::FakeAgent agent({.address = fleet_->address(),
                               .server_key = keys_.public_key,
                               .id = "a",
                               .node = "a",
                               .finishes = false});
  ASSERT_TRUE(pass_until([&] { return all_disks_are("Copying"); }));
  somebody_starts_the_vm();
  ASSERT_TRUE(pass_until([&] { return ledger().failure_reason != ""; }));
  EXPECT_THAT(ledger().failure_message, HasSubstr("was started while its disks were copied"));
}

}  // namespace
}  // namespace vmferry::imports
