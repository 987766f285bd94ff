// How the source is started again when an import is undone, against a real engine's API.
#include "tests/coordinator/imports/lifecycle_scene.h"

namespace vmferry::imports {
namespace {

using ::testing::Contains;
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

}  // namespace
}  // namespace vmferry::imports
