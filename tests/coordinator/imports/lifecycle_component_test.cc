// The life of an import, pass by pass (LC-n is row n of lifecycle.md 13), against a real engine's
// API. What needs agents is in tests/e2e.
#include <algorithm>

#include "common/catalogue.h"
#include "tests/coordinator/imports/lifecycle_scene.h"

namespace vmferry::imports {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const Error kAway = make_error(ErrorKind::Unavailable, "the store is away");

class LifecycleTest : public LifecycleScene {
 protected:
  void make_secret_anew(const std::string& password) {
    ASSERT_TRUE(
        store_->remove(kube::types::kSecret, {"n", "s"}, kube::Propagation::Background, {}, {}));
    make_secret(password);
  }
};

TEST_F(LifecycleTest, AnImportThatIsNotThereNeedsNothing_Lc6And7) {
  begin();
  const auto outcome = pass("nobody");
  ASSERT_TRUE(outcome) << to_string(outcome.error());
  EXPECT_FALSE(outcome->requeue_after.has_value());
  spoiled_->refuse("get", "VirtualMachineImport", kAway);
  EXPECT_FALSE(pass("nobody"));
}

TEST_F(LifecycleTest, ASecretThatCannotBeRead_Lc4) {
  begin();
  make_import();
  spoiled_->refuse("get", "Secret", kAway);
  EXPECT_FALSE(pass()) << "the store may come back";
  EXPECT_EQ(condition("Succeeded"), "");
  spoiled_->refuse("get", "Secret",
                   make_error(ErrorKind::PermissionDenied, "secrets are forbidden"));
  ASSERT_TRUE(pass());
  EXPECT_EQ(condition("Succeeded"), "False/ValidationFailed");
  EXPECT_THAT(message("Succeeded"), HasSubstr("forbidden"));

  // One that is in progress goes on when it can be read again.
  make_import({}, {{"annotations", {{"vmimport.v2v.kubevirt.io/progress", "10"}}}}, "going");
  EXPECT_FALSE(pass("going"));
  EXPECT_EQ(condition("Succeeded", "going"), "");
}

TEST_F(LifecycleTest, AnEngineThatRefusesUsEndsANewImport_Lc3And5) {
  begin();
  make_secret_anew("guess");
  make_import();
  ASSERT_TRUE(pass());
  EXPECT_EQ(condition("Valid"), "False/UnreachableProvider");
  EXPECT_EQ(condition("Succeeded"), "False/ValidationFailed");
  EXPECT_THAT(message("Valid"), HasSubstr(std::string(code::kSourceAuth)));
  EXPECT_EQ(bed_->requests("POST", "/sso/oauth/token"), 1) << "it was the engine that was asked";

  // Accounts lock after a few wrong passwords, whoever sends them.
  for (const char* next : {"second", "third"}) {
    make_import({{"targetVmName", next}}, {}, next);
    ASSERT_TRUE(pass(next));
    EXPECT_EQ(condition("Succeeded", next), "False/ValidationFailed");
  }
  EXPECT_EQ(bed_->requests("POST", "/sso/oauth/token"), 1) << "it was not asked again";
  make_secret_anew(bed_->password());
  make_import({{"targetVmName", "fourth"}}, {}, "fourth");
  ASSERT_TRUE(pass_until([&] { return condition("Valid", "fourth") == "True/ValidationCompleted"; },
                         "fourth"))
      << "a corrected secret is another one";
}

TEST_F(LifecycleTest, WhatCannotBeFoundIsLookedForAgain_Lc10And11) {
  begin();
  make_import({{"source", {{"ovirt", {{"vm", {{"name", "nobody"}}}}}}}}, {}, "lost");
  const auto lost = pass("lost");
  ASSERT_TRUE(lost) << to_string(lost.error());
  EXPECT_TRUE(lost->requeue_after.has_value());
  EXPECT_EQ(condition("Valid", "lost"), "False/SourceVMNotFound");
  EXPECT_EQ(condition("Succeeded", "lost"), "");

  make_import({{"resourceMapping", {{"name", "shared"}}}});
  spoiled_->refuse("get", "ResourceMapping", kAway);
  EXPECT_FALSE(pass());
  spoiled_->spoil = nullptr;
  ASSERT_TRUE(pass());
  EXPECT_EQ(condition("Valid"), "False/ResourceMappingNotFound");
}

TEST_F(LifecycleTest, ANameThatIsTakenOrCannotBeLookedUp_Lc17And132) {
  begin();
  make(kube::types::kVirtualMachine,
       kube::Object(json{{"metadata", {{"name", "web"}, {"namespace", "n"}}}}));
  make_import();
  ASSERT_TRUE(pass());
  EXPECT_EQ(condition("Valid"), "False/DuplicateTargetVMName");
  make_import({{"targetVmName", "free"}}, {}, "other");
  spoiled_->refuse("get", "VirtualMachine", kAway);
  EXPECT_FALSE(pass("other")) << "not knowing is not 'free'";
  EXPECT_EQ(condition("Processing", "other"), "");
}

TEST_F(LifecycleTest, WhatCannotBeJudgedIsAnErrorAndNoVerdict_Lc19) {
  begin();
  make_import();
  spoiled_->refuse("list", "StorageClass", kAway);
  EXPECT_FALSE(pass());
  EXPECT_EQ(condition("Valid"), "");
  EXPECT_EQ(condition("MappingRulesVerified"), "");
}

TEST_F(LifecycleTest, ABlockIsToldAndLookedAtEveryFiveSeconds_Lc20) {
  begin({{"usb", {{"enabled", true}}}});
  make_import();
  const auto outcome = pass();
  ASSERT_TRUE(outcome) << to_string(outcome.error());
  EXPECT_EQ(outcome->requeue_after, std::chrono::seconds(5));
  EXPECT_EQ(condition("MappingRulesVerified"), "False/MappingRulesVerificationFailed");
  EXPECT_EQ(condition("Succeeded"), "");
  EXPECT_THAT(events(), Contains(StartsWith("ImportBlocked: ")));
  EXPECT_EQ(find("web", kube::types::kVirtualMachine), std::nullopt);
}

TEST_F(LifecycleTest, WhatIsDecidedIsNotAskedAgain_Lc18And21And41And53) {
  begin();
  make_import();
  ASSERT_TRUE(reaches("CopyingDisks"));
  EXPECT_THAT(condition("Valid"), StartsWith("True/"));
  EXPECT_THAT(condition("MappingRulesVerified"), StartsWith("True/"));
  const int read = bed_->requests("GET", "all_content=true");
  for (int i = 0; i < 3; ++i) {
    const auto outcome = pass();
    ASSERT_TRUE(outcome) << to_string(outcome.error());  // a disk that waits is no error
    EXPECT_TRUE(outcome->requeue_after.has_value());
  }
  EXPECT_EQ(bed_->requests("GET", "all_content=true"), read);
  EXPECT_THAT(message("Processing"), HasSubstr("waiting for"));
  EXPECT_THAT(events(), Contains(StartsWith("ImportScheduled: ")));
}

TEST_F(LifecycleTest, AStatusThatCannotBeWrittenIsAnError_Lc22) {
  begin();
  make_import();
  spoiled_->refuse("patch_status", "VirtualMachineImport", kAway);
  EXPECT_FALSE(pass());
  spoiled_->spoil = nullptr;
  EXPECT_TRUE(reaches("CopyingDisks"));
}

TEST_F(LifecycleTest, WithoutATemplateTheGateDecides_Lc30And31) {
  settings_.embedded = false;
  settings_.config_namespace = "v";
  make(
      kube::types::kConfigMap,
      kube::Object(json{{"metadata", {{"name", "vm-import-controller-config"}, {"namespace", "v"}}},
                        {"data", {{"builtinTemplates", "false"}}}}));
  begin();
  make_import();
  ASSERT_TRUE(pass_until([&] { return condition("Succeeded") != ""; }));
  EXPECT_EQ(condition("Succeeded"), "False/VMTemplateMatchingFailed");
  EXPECT_EQ(condition("Processing"), "False/ProcessingFailed");
  EXPECT_THAT(message("Succeeded"), HasSubstr("OS config map"));

  ASSERT_TRUE(store_->patch(kube::types::kConfigMap, {"v", "vm-import-controller-config"},
                            {{"data", {{"importWithoutTemplate", "true"}}}}, {}, {}));
  make_import({{"targetVmName", "bare"}}, {}, "bare");
  ASSERT_TRUE(pass_until([&] { return status("bare").target_vm_name == "bare"; }, "bare"));
}

TEST_F(LifecycleTest, AVmThatTheClusterRefusesEndsTheImport_Lc33And34And131) {
  begin({{"status", "up"}});
  make_import();
  bool undo_fails = true;
  spoiled_->spoil = [&](std::string_view verb, const kube::ResourceType& type,
                        const std::string&) -> std::optional<Error> {
    if (verb == "create" && type.kind == "VirtualMachine") {
      return make_error(ErrorKind::InvalidArgument, "admission webhook: the MAC address is taken");
    }
    const bool refused = condition("Processing") == "True/VMTemplateMatching";
    return undo_fails && refused && verb == "patch_status" ? std::optional<Error>(kAway)
                                                           : std::nullopt;
  };
  EXPECT_FALSE(pass()) << "what cannot be cleaned up is tried again";
  EXPECT_EQ(condition("Succeeded"), "");
  undo_fails = false;
  ASSERT_TRUE(pass_until([&] { return condition("Succeeded") != ""; }));
  EXPECT_EQ(condition("Succeeded"), "False/VMCreationFailed");
  EXPECT_THAT(events(), Contains(HasSubstr("the MAC address is taken")));
  EXPECT_EQ(bed_->requests("POST", "/shutdown"), 0) << "the source was not touched";
  EXPECT_TRUE(object()->finalizers().empty());
}

TEST_F(LifecycleTest, AClaimThatTheClusterRefusesEndsTheImport_Lc51And101) {
  begin({{"status", "up"}});
  make_import();
  spoiled_->refuse("create", "PersistentVolumeClaim",
                   make_error(ErrorKind::InvalidArgument, "claims are forbidden here"));
  ASSERT_TRUE(pass_until([&] { return condition("Succeeded") != ""; }));
  EXPECT_EQ(condition("Succeeded"), "False/DataVolumeCreationFailed");
  EXPECT_THAT(events(), Contains(StartsWith("DVCreationFailed: ")));
  EXPECT_THAT(message("Succeeded"), HasSubstr("claims are forbidden here"));
  EXPECT_EQ(object()->annotation(api::kProgress), "100");
  EXPECT_TRUE(object()->finalizers().empty());
  EXPECT_EQ(bed_->state()["transfers"].size(), 0u);
  EXPECT_EQ(bed_->requests("POST", "/start"), 1) << "the source runs again";
}

TEST_F(LifecycleTest, AClaimThatCannotBeReadIsAnError_Lc52) {
  begin();
  make_import();
  ASSERT_TRUE(reaches("CopyingDisks"));
  spoiled_->refuse("get", "PersistentVolumeClaim", kAway);
  EXPECT_FALSE(pass());
  EXPECT_EQ(condition("Succeeded"), "");
}

TEST_F(LifecycleTest, NetworksOfTheTransferAreOnTheClaims_Lc40And56) {
  begin();
  make_import({}, {{"annotations",
                    {{"k8s.v1.cni.cncf.io/networks", "storage-net"},
                     {"v1.multus-cni.io/default-network", "lab/migration"}}},
                   {"labels", {{"vmimport.v2v.kubevirt.io/tracker", "wave-7"}}}});
  ASSERT_TRUE(reaches("CopyingDisks"));
  const auto claims = all_of(kube::types::kPersistentVolumeClaim);
  ASSERT_EQ(claims.size(), 2u);
  for (const kube::Object& claim : claims) {
    EXPECT_EQ(claim.annotation("k8s.v1.cni.cncf.io/networks"), "storage-net");
    EXPECT_EQ(claim.annotation("v1.multus-cni.io/default-network"), "lab/migration");
    EXPECT_EQ(claim.labels().at("vmimport.v2v.kubevirt.io/tracker"), "wave-7");
  }
}

TEST_F(LifecycleTest, ACrashBetweenClaimAndRecordLosesNeither_Lc59) {
  begin();
  make_import();
  spoiled_->spoil = [&](std::string_view verb, const kube::ResourceType& type,
                        const std::string&) -> std::optional<Error> {
    if (verb != "patch" || type.kind != "VirtualMachineImport") return std::nullopt;
    const auto made = all_of(kube::types::kPersistentVolumeClaim);
    return made.empty() ? std::nullopt : std::optional<Error>(kAway);
  };
  for (int i = 0; i < 100 && last_.empty(); ++i) {
    const auto outcome = pass();
    if (!outcome) last_ = to_string(outcome.error());
  }
  ASSERT_NE(last_, "") << "the record was not written";
  start();  // killed at this point
  ASSERT_TRUE(reaches("CopyingDisks"));
  const auto claims = all_of(kube::types::kPersistentVolumeClaim);
  EXPECT_EQ(claims.size(), 2u);
  EXPECT_EQ(status().data_volumes.size(), 2u);
}

// Written down before it is done, and the coordinator dies in between.
TEST_F(LifecycleTest, ACrashBetweenTheWordAndTheDeedOfAShutdown) {
  begin({{"status", "up"}});
  make_import();
  spoiled_->lose = [](const kube::Object& made) -> std::optional<Error> {
    const bool told = made.json().dump().find("stopRequestedAt") != std::string::npos;
    return told ? std::optional<Error>(kAway) : std::nullopt;
  };
  for (int i = 0; i < 100 && last_.empty(); ++i) {
    const auto outcome = pass();
    if (!outcome) last_ = to_string(outcome.error());
  }
  ASSERT_NE(last_, "") << "nothing was written down";
  EXPECT_EQ(bed_->requests("POST", "/shutdown"), 0);
  start();  // killed at this point
  ASSERT_TRUE(reaches("CopyingDisks"));
  EXPECT_EQ(bed_->requests("POST", "/shutdown"), 1);
}

TEST_F(LifecycleTest, ALockedDiskIsAskedForLessAndLessOften_Src9) {
  begin();
  make_import();
  bed_->post("/fault",
             {{"path_regex", "/imagetransfers$"},
              {"method", "POST"},
              {"times", 0},
              {"status", 409},
              {"body",
               "<fault><reason>Operation Failed</reason>"
               "<detail>[Cannot transfer Virtual Disk: Disk is locked.]</detail></fault>"}});
  ASSERT_TRUE(reaches("CopyingDisks"));
  const auto asked = [&] { return bed_->requests("POST", "/imagetransfers"); };
  const int first = asked();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(pass());
  EXPECT_EQ(asked(), first) << "not before its time";
  EXPECT_THAT(message("Processing"), HasSubstr("locked"));
  for (int minute = 0; minute < 5; ++minute) {
    for (int second = 0; second < 60; ++second) {
      clock_.advance(std::chrono::seconds(1));
      ASSERT_TRUE(pass());
    }
  }
  EXPECT_LT(asked() - first, 2 * 18) << "two disks, at last every half minute";
  EXPECT_GT(asked() - first, 2 * 10);
  bed_->post("/clear-faults", json::object());
  clock_.advance(std::chrono::seconds(31));
  ASSERT_TRUE(pass_until([&] { return bed_->state()["transfers"].size() == 2; }));
  clock_.advance(std::chrono::minutes(20));
  ASSERT_TRUE(pass());
  EXPECT_EQ(condition("Succeeded"), "") << "what it waited for does not count any more";
}

TEST_F(LifecycleTest, AFinishedImportIsLeftAlone_Lc95And104) {
  begin();
  make_import({}, {{"annotations", {{"vmimport.v2v.kubevirt.io/progress", "100"}}}});
  ASSERT_TRUE(store_->patch_status(kube::types::kVirtualMachineImport, {"n", "web"},
                                   {{"status",
                                     {{"conditions",
                                       {{{"type", "Succeeded"},
                                         {"status", "True"},
                                         {"reason", "VirtualMachineRunning"},
                                         {"message", "m"}}}}}}},
                                   {}));
  const auto outcome = pass();
  ASSERT_TRUE(outcome) << to_string(outcome.error());
  EXPECT_FALSE(outcome->requeue_after.has_value());
  EXPECT_TRUE(object()->finalizers().empty());
  EXPECT_EQ(bed_->state()["requests"].size(), 0u);
  ASSERT_TRUE(store_->remove(kube::types::kVirtualMachineImport, {"n", "web"},
                             kube::Propagation::Background, {}, {}));
  EXPECT_EQ(object(), std::nullopt) << "nothing holds it";
}

TEST_F(LifecycleTest, DeletedBeforeAnythingWasMadeItGoesAtOnce_Lc102) {
  begin();
  make_import({{"resourceMapping", {{"name", "missing"}}}});
  ASSERT_TRUE(pass());
  EXPECT_FALSE(object()->finalizers().empty());
  ASSERT_TRUE(store_->remove(kube::types::kVirtualMachineImport, {"n", "web"},
                             kube::Propagation::Background, {}, {}));
  ASSERT_TRUE(pass());
  EXPECT_EQ(object(), std::nullopt);
}

TEST_F(LifecycleTest, DeletedDuringTheCopyItGoesWithAllItMade_Lc103And105And106) {
  begin({{"status", "up"}});
  int imports = 0;
  for (const auto how : {kube::Propagation::Background, kube::Propagation::Foreground}) {
    SCOPED_TRACE(++imports);
    make_import();
    const auto opened = [&] {
      const json transfers = bed_->state()["transfers"];
      return std::ranges::count_if(
                 transfers, [](const json& each) { return each["phase"] == "transferring"; }) == 2;
    };
    ASSERT_TRUE(pass_until(opened));
    ASSERT_TRUE(store_->remove(kube::types::kVirtualMachineImport, {"n", "web"}, how, {}, {}));
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (object() && std::chrono::steady_clock::now() < until) {
      const auto outcome = pass();
      if (!outcome) last_ = to_string(outcome.error());
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    EXPECT_EQ(object(), std::nullopt) << last_;
    const json state = bed_->state();
    for (const json& transfer : state["transfers"]) {
      EXPECT_FALSE(transfer["alive"].get<bool>());
      EXPECT_EQ(std::ranges::count_if(transfer["calls"],
                                      [](const json& call) {
                                        return call["call"] == "finalize" ||
                                               call["call"] == "cancel";
                                      }),
                1);
    }
    for (const auto& [id, disk] : state["disks"].items()) EXPECT_EQ(disk["status"], "ok") << id;
    EXPECT_EQ(bed_->requests("POST", "/start"), imports);
    EXPECT_TRUE(all_of(kube::types::kPersistentVolumeClaim).empty());
    EXPECT_TRUE(all_of(kube::types::kVirtualMachine).empty());
  }
}

// Whose a transfer is, a coordinator that has just started knows by the ledgers alone.
TEST_F(LifecycleTest, ADiskThatAnotherImportReadsIsNotOpenedForTheNext) {
  begin();
  make_import();
  ASSERT_TRUE(pass_until([&] { return bed_->state()["transfers"].size() == 2; }));
  start();
  make_import({{"targetVmName", "second"}}, {}, "second");
  ASSERT_TRUE(pass_until([&] { return condition("Valid", "second") == "True/ValidationCompleted"; },
                         "second"));
  for (int i = 0; i < 20; ++i) {
    clock_.advance(std::chrono::seconds(5));
    static_cast<void>(pass("second"));
  }
  EXPECT_TRUE(ledger_of(*object("second"))->openings.empty());
  ASSERT_TRUE(store_->remove(kube::types::kVirtualMachineImport, {"n", "second"},
                             kube::Propagation::Background, {}, {}));
  ASSERT_TRUE(pass_until([&] { return !object("second"); }, "second"));
  const json state = bed_->state();
  EXPECT_EQ(state["transfers"].size(), 2u);
  for (const json& transfer : state["transfers"]) EXPECT_TRUE(transfer["alive"].get<bool>());
}

// An engine that does not lock a disk while it is read, so that only the ledgers tell.
TEST_F(LifecycleTest, ADiskThatAnotherImportReadsIsLeftToItAlsoWhereTheEngineWouldGiveIt) {
  begin();
  make_import();
  ASSERT_TRUE(pass_until([&] { return ledger_of(*object())->openings.size() == 2; }));
  ASSERT_TRUE(pass_until([&] { return bed_->state()["transfers"].size() == 2; }));
  start();
  const auto unlock = [&] {
    for (const char* disk : {"boot", "data"}) bed_->post("/disk", {{"id", disk}, {"status", "ok"}});
  };
  unlock();
  make_import({{"targetVmName", "second"}}, {}, "second");
  ASSERT_TRUE(pass_until([&] { return condition("Processing", "second") == "True/CopyingDisks"; },
                         "second"));
  for (int i = 0; i < 20; ++i) {
    clock_.advance(std::chrono::seconds(5));
    const auto outcome = pass("second");
    ASSERT_TRUE(outcome) << to_string(outcome.error());
  }
  EXPECT_TRUE(ledger_of(*object("second"))->openings.empty());
  EXPECT_EQ(bed_->state()["transfers"].size(), 2u);
  EXPECT_EQ(condition("Succeeded", "second"), "");

  // It has its turn when the first has ended.
  ASSERT_TRUE(store_->remove(kube::types::kVirtualMachineImport, {"n", "web"},
                             kube::Propagation::Background, {}, {}));
  ASSERT_TRUE(pass_until([&] { return !object(); }));
  ASSERT_TRUE(pass_until([&] { return bed_->state()["transfers"].size() == 4; }, "second"));
  const json transfers = bed_->state()["transfers"];
  for (int i = 0; i < 4; ++i) EXPECT_EQ(transfers[i]["alive"], i >= 2) << transfers[i];
}

// Both stand before their first disk. Between the first one's look at the others' ledgers and the
// entry in its own, the second one's pass runs.
TEST_F(LifecycleTest, OfTwoImportsThatOpenADiskAtOnceOneIsFirst) {
  begin();
  make_import();
  make_import({{"targetVmName", "second"}}, {}, "second");
  std::string passing;
  bool held = true, looked = false, met = false;
  int refused = 0;
  spoiled_->spoil = [&](std::string_view verb, const kube::ResourceType& type,
                        const std::string& name) -> std::optional<Error> {
    if (type.kind != "VirtualMachineImport") return std::nullopt;
    if (verb == "list" && held && condition("Processing", passing) != "") {
      ++refused;
      return kAway;
    }
    if (verb == "list" && passing == "web") looked = true;
    if (verb == "patch" && name == "web" && looked && !held && !met) {
      met = true;
      passing = "second";
      static_cast<void>(pass("second"));
      passing = "web";
    }
    return std::nullopt;
  };
  for (const char* name : {"web", "second"}) {
    passing = name;
    refused = 0;
    ASSERT_TRUE(pass_until([&] { return refused > 0; }, name));
    ASSERT_TRUE(ledger_of(*object(name))->openings.empty());
  }
  clock_.advance(std::chrono::minutes(1));  // both are due again
  held = looked = false;
  passing = "web";
  ASSERT_TRUE(pass_until([&] { return met; }));
  const auto exclude_each_other = [&] {
    const auto ours = ledger_of(*object("web"))->openings;
    const auto theirs = ledger_of(*object("second"))->openings;
    for (const auto& [disk, handle] : ours) EXPECT_FALSE(theirs.contains(disk)) << disk;
    return ours.size() + theirs.size();
  };
  EXPECT_GE(exclude_each_other(), 1u);
  for (int i = 0; i < 5; ++i) {
    clock_.advance(std::chrono::minutes(1));
    for (const char* name : {"web", "second"}) {
      passing = name;
      static_cast<void>(pass(name));
    }
  }
  EXPECT_EQ(exclude_each_other(), 2u);
  EXPECT_EQ(bed_->state()["transfers"].size(), 2u);
}

// As one that died right after it had written that its disks are done. Whether they are closed, it
// could not write any more.
TEST_F(LifecycleTest, WhatAFinishedDiskLeftOpenIsClosedByTheNextCoordinator) {
  begin();
  make_import();
  ASSERT_TRUE(pass_until([&] {
    const json transfers = bed_->state()["transfers"];
    return transfers.size() == 2 && ledger_of(*object())->openings.size() == 2;
  }));
  json disks = object()->json()["status"]["disks"];
  for (json& disk : disks) disk["phase"] = "Done";
  ASSERT_TRUE(store_->patch_status(kube::types::kVirtualMachineImport, {"n", "web"},
                                   {{"status", {{"disks", disks}}}}, {}));
  start();
  ASSERT_TRUE(pass_until([&] { return condition("Succeeded") != ""; }));
  EXPECT_EQ(condition("Succeeded"), "True/VirtualMachineReady");
  EXPECT_TRUE(ledger_of(*object())->openings.empty());
  const json state = bed_->state();
  for (const json& transfer : state["transfers"]) EXPECT_FALSE(transfer["alive"]) << transfer;
  for (const auto& [id, disk] : state["disks"].items()) EXPECT_EQ(disk["status"], "ok") << id;
}

}  // namespace
}  // namespace vmferry::imports
