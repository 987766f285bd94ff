// The last steps of an import whose disks are copied (LC-n is row n of lifecycle.md 13).
#include <gmock/gmock.h>

#include "tests/coordinator/imports/finish_fixture.h"
#include "tests/coordinator/imports/spoiled_store.h"

namespace vmferry::imports {
namespace {

using kube::types::kVirtualMachine;
using kube::types::kVirtualMachineImport;
using kube::types::kVirtualMachineInstance;
using nlohmann::json;

class StepFinishTest : public FinishFixture {
 protected:
  void start_is_wanted() {
    ASSERT_TRUE(store_->patch(kVirtualMachineImport, import_.key(), {{"spec", {{"startVm", true}}}},
                              {}, {}));
    make(kVirtualMachine, vm_of(import_));
  }
  // KubeVirt's instance of the VM.
  void instance(const std::string& phase) {
    const json state = {{"status", {{"phase", phase}}}};
    if (!find("web", kVirtualMachineInstance)) {
      make(kVirtualMachineInstance,
           kube::Object(json{{"metadata", {{"name", "web"}, {"namespace", "n"}}}}));
    }
    ASSERT_TRUE(store_->patch(kVirtualMachineInstance, {"n", "web"}, state, {}, {}));
  }
  std::string strategy() {
    return find("web", kVirtualMachine)->json()["spec"]["runStrategy"].get<std::string>();
  }
  std::string condition(const char* type) const {
    const api::Condition* found = api::find_condition(status_.conditions, type);
    return found == nullptr ? "" : found->status + "/" + found->reason;
  }
};

// Rows LC-100 to LC-104: by how the import stands when its finalizers go, and once.
TEST_F(StepFinishTest, AnImportIsCountedOnceByItsEnd) {
  const struct {
    const char* label;
    const char* succeeded;  // the condition's status; empty: deleted before it ended
    bool has_finalizers;
    ImportOutcome outcome;
    std::uint64_t counted;
  } cases[] = {
      {"LC-100", "True", true, ImportOutcome::Successful, 1},
      {"LC-101", "False", true, ImportOutcome::Failed, 1},
      {"LC-102, LC-103", "", true, ImportOutcome::Cancelled, 1},
      {"LC-104", "", false, ImportOutcome::Cancelled, 0},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.label);
    Outcomes outcomes;
    parts_->outcomes = &outcomes;
    memory_.plan.reset();
    json finalizers = json::array();
    if (c.has_finalizers) {
      finalizers = {std::string(api::kCancelledFinalizer), std::string(api::kCleanupFinalizer)};
    }
    ASSERT_TRUE(store_->patch(kVirtualMachineImport, import_.key(),
                              {{"metadata", {{"finalizers", finalizers}}}}, {}, {}));
    for (int again = 0; again < 2; ++again) {
      auto parsed = api::parse_import(*find("web", kVirtualMachineImport));
      Pass pass(*parts_, *std::move(parsed), Ledger{}, memory_, {});
      if (*c.succeeded != '\0') pass.set_condition("Succeeded", c.succeeded, "Reason", "text");
      ASSERT_TRUE(clean_up_finished(pass));
    }
    EXPECT_EQ(outcomes.counts()[static_cast<std::size_t>(c.outcome)].imports, c.counted);
    EXPECT_TRUE(find("web", kVirtualMachineImport)
                    ->json()["metadata"]
                    .value("finalizers", json::array())
                    .empty());
  }
}

TEST_F(StepFinishTest, AVmOfOursThatIsThereAlreadyIsGoneOnWith_Lc35) {
  make(kVirtualMachine, vm_of(import_));
  const std::string uid = find("web", kVirtualMachine)->uid();
  EXPECT_EQ(ends(create_vm), StepResult::Kind::Done);
  EXPECT_EQ(find("web", kVirtualMachine)->uid(), uid);
}

TEST_F(StepFinishTest, AForeignVmOfTheNameIsWaitedForAndUntouched_Lc36) {
  make(kVirtualMachine, vm_of(make(kVirtualMachineImport, import("other"))));
  const json before = find("web", kVirtualMachine)->json();
  EXPECT_EQ(ends(create_vm), StepResult::Kind::Again);
  EXPECT_EQ(condition("Valid"), "False/DuplicateTargetVMName");
  EXPECT_EQ(ends(create_vm), StepResult::Kind::Again);
  EXPECT_EQ(find("web", kVirtualMachine)->json(), before);
  ASSERT_TRUE(store_->remove(kVirtualMachine, {"n", "web"}, kube::Propagation::Background, {}, {}));
  EXPECT_EQ(ends(create_vm), StepResult::Kind::Done);
  EXPECT_EQ(condition("Valid"), "True/ValidationCompleted");
}

TEST_F(StepFinishTest, AVmThatIsRefusedAtTheEndFailsTheImport_Lc33) {
  spoiled_.refuse("create", "VirtualMachine", make_error(ErrorKind::InvalidArgument, "quota"));
  EXPECT_EQ(ends(create_vm), StepResult::Kind::Failed);
  EXPECT_EQ(last_.reason, "VMCreationFailed");
  EXPECT_THAT(last_.message, ::testing::HasSubstr("quota"));
  spoiled_.refuse("create", "VirtualMachine", make_error(ErrorKind::Unavailable, "away"));
  EXPECT_FALSE(run(create_vm)) << "tried again";
}

TEST_F(StepFinishTest, AVmThatIsToStartIsStartedAndWaitedFor_Lc90And94) {
  start_is_wanted();
  EXPECT_EQ(ends(start_vm), StepResult::Kind::Again);
  EXPECT_EQ(last_.after, std::chrono::seconds(15));
  EXPECT_EQ(strategy(), "RerunOnFailure");
  EXPECT_EQ(find("web", kVirtualMachineImport)->annotation(api::kProgress), "90");
  for (const char* phase : {"Pending", "Scheduling"}) {
    SCOPED_TRACE(phase);
    instance(phase);
    EXPECT_EQ(ends(start_vm), StepResult::Kind::Again);
    EXPECT_EQ(last_.after, std::chrono::seconds(15));
  }
}

TEST_F(StepFinishTest, AnInstanceThatCannotBeReadIsAnError_Lc91) {
  start_is_wanted();
  spoiled_.refuse("get", "VirtualMachineInstance", make_error(ErrorKind::Unavailable, "away"));
  EXPECT_FALSE(run(start_vm));
}

TEST_F(StepFinishTest, AVmThatRunsEndsTheImportAndBelongsToNobody_Lc92And93) {
  for (const char* phase : {"Scheduled", "Running"}) {
    SCOPED_TRACE(phase);
    if (!find("web", kVirtualMachine)) start_is_wanted();
    instance(phase);
    EXPECT_EQ(ends(start_vm), StepResult::Kind::Done);
    EXPECT_EQ(ends(finish_import), StepResult::Kind::Done);
    EXPECT_EQ(condition("Succeeded"), "True/VirtualMachineRunning");
    EXPECT_TRUE(find("web", kVirtualMachine)->owners().empty());
  }
}

// Somebody adds an owner of his own between our reading of an object and our writing of its owners.
TEST_F(StepFinishTest, OwnersThatSomebodyAddsMeanwhileAreNotLost) {
  json claim{{"apiVersion", "v1"},
             {"kind", "PersistentVolumeClaim"},
             {"metadata",
              {{"name", "web-boot"},
               {"namespace", "n"},
               {"ownerReferences", vm_of(import_).json()["metadata"]["ownerReferences"]}}}};
  make(kube::types::kPersistentVolumeClaim, kube::Object(claim));
  make(kVirtualMachine, vm_of(import_));
  PlannedDisk disk;
  disk.claim = "web-boot";
  plan_.disks = {disk};

  const std::string backup = make(kube::types::kConfigMap, config_map("backup")).uid();
  const json other{
      {"apiVersion", "v1"}, {"kind", "ConfigMap"}, {"name", "backup"}, {"uid", backup}};
  for (const kube::ResourceType* type : {&kube::types::kPersistentVolumeClaim, &kVirtualMachine}) {
    SCOPED_TRACE(type->kind);
    const std::string name = type == &kVirtualMachine ? "web" : "web-boot";
    bool added = false;
    spoiled_.spoil = [&](std::string_view verb, const kube::ResourceType& asked,
                         const std::string&) -> std::optional<Error> {
      if (verb != "patch" || asked != *type || std::exchange(added, true)) return std::nullopt;
      json owners = find(name, *type)->json()["metadata"]["ownerReferences"];
      owners.push_back(other);
      EXPECT_TRUE(
          store_->patch(*type, {"n", name}, {{"metadata", {{"ownerReferences", owners}}}}, {}, {}));
      return std::nullopt;
    };
    const auto first = run(finish_import);
    ASSERT_TRUE(added);
    ASSERT_FALSE(first) << "what was read is not what is there";
    EXPECT_EQ(first.error().kind(), ErrorKind::Aborted);
  }
  spoiled_.spoil = nullptr;
  ASSERT_EQ(ends(finish_import), StepResult::Kind::Done);
  const std::string vm_uid = find("web", kVirtualMachine)->uid();
  const auto of_claim = find("web-boot", kube::types::kPersistentVolumeClaim)->owners();
  ASSERT_EQ(of_claim.size(), 2U);
  EXPECT_EQ(of_claim[0].uid, vm_uid);
  EXPECT_EQ(of_claim[1].uid, backup);
  const auto of_vm = find("web", kVirtualMachine)->owners();
  ASSERT_EQ(of_vm.size(), 1U);
  EXPECT_EQ(of_vm[0].uid, backup);
  // A crash before Succeeded was written: it is ours still, with that owner beside us.
  ASSERT_TRUE(store_->patch(
      kVirtualMachine, {"n", "web"},
      {{"metadata", {{"labels", {{std::string(api::kImportUid), import_.uid()}}}}}}, {}, {}));
  EXPECT_EQ(ends(create_vm), StepResult::Kind::Done);
}

TEST_F(StepFinishTest, AVmThatVanishesBeforeTheEndFailsTheImport_Lc108) {
  EXPECT_EQ(ends(finish_import), StepResult::Kind::Failed);
  EXPECT_EQ(last_.reason, "VMNotFound");
  EXPECT_EQ(last_.event_reason, "VMNotFound");
  EXPECT_THAT(last_.message, ::testing::HasSubstr("n/web"));
}

TEST_F(StepFinishTest, ADiskThatTheVmCannotOpenIsPartOfTheOutcome) {
  make(kVirtualMachine, vm_of(import_));
  const json disks = {{{"name", "boot"},
                       {"claim", "web-0"},
                       {"phase", "Done"},
                       {"lastError", "disk 'boot' belongs to 0:0 [VMF-DST-OWNER]"}}};
  ASSERT_TRUE(store_->patch_status(kVirtualMachineImport, import_.key(),
                                   {{"status", {{"disks", disks}}}}, {}));
  ASSERT_EQ(ends(finish_import), StepResult::Kind::Done);
  EXPECT_EQ(condition("Succeeded"), "True/VirtualMachineReady");
  for (const char* type : {"Succeeded", "Processing"}) {
    EXPECT_THAT(api::find_condition(status_.conditions, type)->message,
                ::testing::HasSubstr("but disk 'boot' belongs to 0:0"))
        << type;
  }
}

}  // namespace
}  // namespace vmferry::imports
