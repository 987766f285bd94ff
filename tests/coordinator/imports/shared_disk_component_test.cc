// Disks of an engine between imports, and the end of their copies, pass by pass.
#include <gmock/gmock.h>

#include "common/catalogue.h"
#include "coordinator/imports/ledger_seal.h"
#include "tests/coordinator/fleet/fake_agent.h"
#include "tests/coordinator/imports/lifecycle_scene.h"

namespace vmferry::imports {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class SharedDiskTest : public LifecycleScene {
 protected:
  bool copies(const std::string& name) {
    return pass_until([&] { return condition("Processing", name) == "True/CopyingDisks"; }, name);
  }
  std::string waits_for(const std::string& name) {
    const auto disks = status(name).disks;
    return disks.empty() ? "" : disks.front().last_error;
  }
  // An agent, until the import has ended.
  void let_an_agent_finish(const std::string& owner = "") {
    const test::FakeAgent agent({.address = fleet_->address(),
                                 .server_key = keys_.public_key,
                                 .id = "a",
                                 .node = "a",
                                 .owner = owner});
    ASSERT_TRUE(pass_until([&] { return condition("Succeeded") != ""; }));
  }
};

TEST_F(SharedDiskTest, OfTwoImportsOfOneVmTheSecondWaitsForTheDisk) {
  begin();
  // The second one is planned before the engine shows the lock of the first.
  make_import({{"targetVmName", "second"}}, {}, "second");
  spoiled_->refuse("create", "PersistentVolumeClaim",
                   make_error(ErrorKind::Unavailable, "the store is away"));
  EXPECT_FALSE(pass("second"));
  ASSERT_EQ(status("second").target_vm_name, "second");
  spoiled_->spoil = nullptr;
  make_import();
  ASSERT_TRUE(copies("web"));
  ASSERT_TRUE(pass_until([&] { return waits_for("second") != ""; }, "second"));
  EXPECT_THAT(waits_for("second"), HasSubstr("is being read for import 'web'"));
  EXPECT_EQ(bed_->state()["transfers"].size(), 2u) << "none for the second";

  start();  // a new process, which hears of the second one first
  ASSERT_TRUE(pass_until([&] { return waits_for("second") != ""; }, "second"));
  EXPECT_EQ(bed_->state()["transfers"].size(), 2u);
}

TEST_F(SharedDiskTest, AnotherNamespacesImportIsNotNamed) {
  begin();
  make_import();
  ASSERT_TRUE(copies("web"));
  const auto disks = ledger().openings;
  ASSERT_EQ(disks.size(), 2u);
  // The import of a name that is nobody's business, as the coordinators themselves noted it.
  DiskLocks locks(SecretString("the coordinators' key"));
  const kube::ObjectKey other{"elsewhere", "merger-with-acme"};
  make(kube::types::kVirtualMachineImport,
       kube::Object(json{{"metadata", {{"name", other.name}, {"namespace", other.ns}}},
                         {"spec",
                          {{"providerCredentialsSecret", {{"name", "s"}}},
                           {"source", {{"ovirt", {{"vm", {{"id", "1"}}}}}}}}}}));
  const auto foreign = store_->get(kube::types::kVirtualMachineImport, other, {});
  ASSERT_TRUE(foreign);
  Ledger noted;
  noted.opened_at = redacted_url(bed_->url());
  noted.openings = disks;
  const std::string text = sealed(to_text(noted), foreign->uid(), locks.key());
  ASSERT_TRUE(store_->patch(kube::types::kVirtualMachineImport, other,
                            {{"metadata", {{"annotations", {{std::string(api::kLedger), text}}}}}},
                            {}, {}));
  ASSERT_TRUE(store_->remove(kube::types::kVirtualMachineImport, {"n", "web"},
                             kube::Propagation::Background, {}, {}));
  ASSERT_TRUE(pass_until([&] { return !object(); }));
  start();
  make_import({{"targetVmName", "second"}}, {}, "second");
  ASSERT_TRUE(pass_until([&] { return waits_for("second") != ""; }, "second"));
  EXPECT_THAT(waits_for("second"), HasSubstr("an import of another namespace"));
  EXPECT_THAT(waits_for("second"), Not(HasSubstr("acme")));
}

TEST_F(SharedDiskTest, AnAnnotationThatSomebodyWroteLocksNothing) {
  begin();
  make_import({{"targetVmName", "forger"}}, {}, "forger");
  const json forged = {{"openings", {{"any", "t"}}}, {"openedAt", redacted_url(bed_->url())}};
  make_import();
  ASSERT_TRUE(copies("web"));
  json openings;
  for (const auto& [disk, handle] : ledger().openings) openings[disk] = handle;
  ASSERT_TRUE(store_->remove(kube::types::kVirtualMachineImport, {"n", "web"},
                             kube::Propagation::Background, {}, {}));
  ASSERT_TRUE(pass_until([&] { return !object(); }));
  json text = forged;
  text["openings"] = openings;
  ASSERT_TRUE(store_->patch(
      kube::types::kVirtualMachineImport, {"n", "forger"},
      {{"metadata", {{"annotations", {{std::string(api::kLedger), text.dump()}}}}}}, {}, {}));
  start();
  make_import();
  ASSERT_TRUE(copies("web"));
  EXPECT_EQ(waits_for("web"), "");
}

// The status says that the disk is done; who wrote it died before the ledger said so, too.
TEST_F(SharedDiskTest, ADiskThatIsDoneIsNotOpenAnyMore) {
  begin();
  make_import();
  ASSERT_TRUE(copies("web"));
  auto disks = object()->json()["status"]["disks"];
  const std::string done = disks[0]["sourceDisk"];
  ASSERT_TRUE(ledger().openings.contains(done));
  disks[0]["phase"] = "Done";
  ASSERT_TRUE(store_->patch_status(kube::types::kVirtualMachineImport, {"n", "web"},
                                   {{"status", {{"disks", disks}}}}, {}));
  ASSERT_TRUE(pass_until([&] { return !ledger().openings.contains(done); }));
  EXPECT_EQ(ledger().openings.size(), 1u);
}

TEST_F(SharedDiskTest, AShutdownWishIsForgottenOnceTheVmIsDown) {
  begin({{"status", "up"}});
  make_import();
  ASSERT_TRUE(pass_until([&] { return !ledger().stop_requested_at.empty(); }));
  ASSERT_TRUE(copies("web"));
  EXPECT_EQ(ledger().stop_requested_at, "");
  EXPECT_EQ(ledger().power_cut_at, "");
  EXPECT_EQ(bed_->requests("POST", "/shutdown"), 1);
}

TEST_F(SharedDiskTest, ADiskThatTheVmCannotOpenIsToldWithClaimOwnerAndRemedy) {
  begin();
  make_import();
  ASSERT_TRUE(copies("web"));
  let_an_agent_finish("65534:65534, mode 0660");
  EXPECT_THAT(condition("Succeeded"), StartsWith("True/"));
  const std::string claim = status().disks.at(0).claim;
  for (const char* type : {"Succeeded", "Processing"}) {
    EXPECT_THAT(message(type), HasSubstr("claim 'n/" + claim + "' belongs to 65534:65534, mode"));
    EXPECT_THAT(message(type), HasSubstr("chown 107:107"));
    EXPECT_THAT(message(type), HasSubstr(std::string(code::kTargetOwner)));
  }
  EXPECT_THAT(events(), Contains(StartsWith("DiskNotHandedOver: disk 'boot'")));
  EXPECT_THAT(events(), Contains(StartsWith("DiskNotHandedOver: disk 'data'")));
}

TEST_F(SharedDiskTest, ADiskThatWasHandedOverIsNoNews) {
  begin();
  make_import();
  ASSERT_TRUE(copies("web"));
  let_an_agent_finish();
  EXPECT_THAT(events(), Not(Contains(StartsWith("DiskNotHandedOver"))));
  EXPECT_THAT(message("Succeeded"), Not(HasSubstr("but")));
}

// A look at the source each second would be for nothing, and thousands may wait.
TEST_F(SharedDiskTest, WhileAllDisksWaitForAnAgentTheSourceIsAskedForItsPowerNowAndThenOnly) {
  begin();
  make_import();
  ASSERT_TRUE(copies("web"));
  const auto queued = [&] {
    return std::ranges::count(status().disks, "Queued", &api::DiskStatus::phase) == 2;
  };
  ASSERT_TRUE(pass_until(queued));
  const auto looks = [&] { return bed_->requests("GET", "/vms/"); };
  const int before = looks();
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(pass());
  EXPECT_EQ(looks(), before);
  clock_.advance(std::chrono::seconds(61));
  ASSERT_TRUE(pass());
  EXPECT_GT(looks(), before);
}

}  // namespace
}  // namespace vmferry::imports
