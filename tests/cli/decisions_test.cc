// What the command line decides from an import's state: outcome, exit codes, waiting.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli/context.h"
#include "cli/follow.h"
#include "cli/object_output.h"
#include "cli/wait_decision.h"

namespace vmferry::cli {
namespace {

ImportView in(ImportOutcome outcome) {
  ImportView view;
  view.key = {"default", "web01"};
  view.outcome = outcome;
  return view;
}

api::VirtualMachineImport import_with(std::vector<api::Condition> conditions) {
  api::VirtualMachineImport import;
  import.object = kube::Object(
      {{ "metadata",
         { {"name", "web01"},
           {"namespace", "default"},
           { "uid",
             "u1" } } }});
  import.status.conditions = std::move(conditions);
  return import;
}

TEST(ExitCodeTest, FollowsTheKindOfError) {
  EXPECT_EQ(exit_code_of(Error(ErrorKind::InvalidArgument, "x")), kBadInput);
  EXPECT_EQ(exit_code_of(Error(ErrorKind::Canceled, "x")), kInterrupted);
  EXPECT_EQ(exit_code_of(Error(ErrorKind::NotFound, "x")), kFailed);
}

TEST(ExitCodeTest, BlockedCountsAsFailed) {
  EXPECT_EQ(exit_code_of(std::vector{in(ImportOutcome::Succeeded)}), kOk);
  EXPECT_EQ(exit_code_of(std::vector{in(ImportOutcome::Succeeded), in(ImportOutcome::Blocked)}),
            kFailed);
}

TEST(ImportViewTest, JudgesByConditions) {
  const struct {
    const char* name;
    std::vector<api::Condition> conditions;
    ImportOutcome expected;
  } cases[] = {
      {"new", {}, ImportOutcome::Running},
      {"blocked",
       {{"Valid", "False", "IncompleteMappingRules", "m", "", ""}},
       ImportOutcome::Blocked},
      {"copying",
       {{"Valid", "True", "ValidationCompleted", "", "", ""},
        {"Processing", "True", "CopyingDisks", "", "", ""}},
       ImportOutcome::Running},
      {"done",
       {{"Succeeded", "True", "VirtualMachineReady", "", "", ""}},
       ImportOutcome::Succeeded},
      {"failed wins over blocked",
       {{"Valid", "False", "SecretNotFound", "", "", ""},
        {"Succeeded", "False", "ValidationFailed", "", "", ""}},
       ImportOutcome::Failed},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(view_of(import_with(c.conditions), {}).outcome, c.expected) << c.name;
  }
}

TEST(ImportViewTest, OverlaysLiveTransfersOfThisImportOnly) {
  api::VirtualMachineImport import = import_with({});
  import.status.disks.push_back(
      {.name = "boot", .source_disk = {}, .claim = {}, .phase = "Queued"});
  TransferView live;
  live.disk = "boot";
  live.state = TransferState::Running;
  live.status.phase = protocol::JobPhase::Copying;
  live.status.moved_bytes = 5;
  live.attempt = 2;
  live.history = {"agent-1: lost after 34%"};
  live.job.value = "another/1";
  EXPECT_EQ(view_of(import, {live}).disks[0].moved_bytes, 0u);
  live.job.value = "u1/1";
  const DiskView disk = view_of(import, {live}).disks[0];
  EXPECT_EQ(disk.moved_bytes, 5u);
  EXPECT_EQ(disk.phase, "Copying");
  EXPECT_EQ(disk.note, "attempt 2 (agent-1: lost after 34%; taken over)");
}

TEST(WaitDecisionTest, EndsWhenTheOutcomeIsKnown) {
  EXPECT_EQ(wait_decision(WaitFor::Succeeded, in(ImportOutcome::Succeeded)), WaitDecision::Reached);
  EXPECT_EQ(wait_decision(WaitFor::Succeeded, in(ImportOutcome::Failed)), WaitDecision::Missed);
  EXPECT_EQ(wait_decision(WaitFor::Succeeded, in(ImportOutcome::Blocked)), WaitDecision::GoOn);
  EXPECT_EQ(wait_decision(WaitFor::Deleted, in(ImportOutcome::Failed)), WaitDecision::GoOn);
  EXPECT_EQ(wait_decision(WaitFor::Deleted, in(ImportOutcome::Gone)), WaitDecision::Reached);
}

TEST(BlockedTimerTest, StartsOverWhenTheReasonsChange) {
  BlockedTimer timer(std::chrono::seconds(15));
  ImportView view = in(ImportOutcome::Blocked);
  const SteadyTime start{};
  EXPECT_FALSE(timer.expired(view, start));
  view.message = "another";
  EXPECT_FALSE(timer.expired(view, start + std::chrono::seconds(14)));
  EXPECT_FALSE(timer.expired(view, start + std::chrono::seconds(28)));
  EXPECT_TRUE(timer.expired(view, start + std::chrono::seconds(29)));
}

TEST(ObjectOutputTest, MasksSecretValues) {
  const kube::Object secret(nlohmann::json{{"apiVersion", "v1"},
                                           {"kind", "Secret"},
                                           {"metadata", {{"name", "s"}}},
                                           {"data", {{"vmware", "c2VjcmV0"}}}});
  EXPECT_EQ(masked(secret).json()["data"]["vmware"], "***");
}

}  // namespace
}  // namespace vmferry::cli
