#include <gtest/gtest.h>

#include "coordinator/api/import.h"

namespace vmferry::api {
namespace {

using std::chrono::seconds;

const WallTime kStart = WallTime(seconds(1'700'000'000));

Condition condition(const char* type, const char* status = "True", const char* reason = "") {
  Condition result;
  result.type = type;
  result.status = status;
  result.reason = reason;
  return result;
}

TEST(ConditionsTest, Api20FindsAConditionByType) {
  const std::vector<Condition> conditions{condition("Valid"), condition("Processing")};
  ASSERT_NE(find_condition(conditions, "Valid"), nullptr);
  EXPECT_EQ(find_condition(conditions, "Valid"), &conditions[0]);
}

TEST(ConditionsTest, Api21FindsNothingForAMissingType) {
  EXPECT_EQ(find_condition({condition("Valid")}, "Succeeded"), nullptr);
  EXPECT_FALSE(is_true({}, "Valid"));
}

TEST(ConditionsTest, Api22AppendsANewType) {
  std::vector<Condition> conditions;
  upsert_condition(conditions, "Valid", "True", "ValidationCompleted", "fine", kStart);
  const Condition first = conditions[0];
  upsert_condition(conditions, "Processing", "True", "CopyingDisks", "copying",
                   kStart + seconds(1));
  ASSERT_EQ(conditions.size(), 2U);
  EXPECT_EQ(conditions[0], first);
  EXPECT_EQ(conditions[1].last_heartbeat_time, to_rfc3339(kStart + seconds(1)));
  EXPECT_EQ(conditions[1].last_transition_time, to_rfc3339(kStart + seconds(1)));
  EXPECT_TRUE(is_true(conditions, "Processing"));
}

TEST(ConditionsTest, Api23AStatusChangeReplacesEverything) {
  std::vector<Condition> conditions;
  upsert_condition(conditions, "Valid", "False", "SecretNotFound", "no secret", kStart);
  upsert_condition(conditions, "Valid", "True", "ValidationCompleted", "fine", kStart + seconds(2));
  const std::string later = to_rfc3339(kStart + seconds(2));
  EXPECT_EQ(
      conditions,
      (std::vector<Condition>{{"Valid", "True", "ValidationCompleted", "fine", later, later}}));
}

TEST(ConditionsTest, Api24TheSameStatusKeepsTheTransitionTime) {
  std::vector<Condition> conditions;
  upsert_condition(conditions, "Processing", "True", "Pending", "a", kStart);
  upsert_condition(conditions, "Processing", "True", "CopyingDisks", "b", kStart + seconds(2));
  EXPECT_EQ(conditions[0].reason, "CopyingDisks");
  EXPECT_EQ(conditions[0].message, "b");
  EXPECT_EQ(conditions[0].last_heartbeat_time, to_rfc3339(kStart + seconds(2)));
  EXPECT_EQ(conditions[0].last_transition_time, to_rfc3339(kStart));
}

TEST(ConditionsTest, Api25KnowsWhenTheDisksAreDone) {
  const auto done = [](const char* reason) {
    return disks_done({condition("Succeeded", "True", reason)});
  };
  EXPECT_TRUE(done("VirtualMachineReady"));
  EXPECT_TRUE(done("VirtualMachineRunning"));
  EXPECT_FALSE(done("VMCreationFailed"));
  EXPECT_FALSE(disks_done({}));
}

TEST(ConditionsTest, StartsTheTargetAsAsked) {
  const struct {
    const char* name;
    std::optional<bool> start_vm;
    bool warm;
    const char* initial_state;
    bool expected;
  } cases[] = {
      {"API-63: cold, nothing said", std::nullopt, false, "up", false},
      {"API-64: warm, was up", std::nullopt, true, "up", true},
      {"API-64: warm, was down", std::nullopt, true, "down", false},
      {"API-65: told not to", false, true, "up", false},
      {"told to", true, false, "down", true},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    ImportSpec spec;
    spec.start_vm = c.start_vm;
    spec.warm = c.warm;
    EXPECT_EQ(should_start(spec, c.initial_state), c.expected);
  }
}

TEST(ConditionsTest, IsFinishedUnlessReadyAndToBeStarted) {
  VirtualMachineImport import;
  EXPECT_FALSE(finished(import));
  import.status.conditions = {condition("Succeeded", "True", "VirtualMachineReady")};
  EXPECT_TRUE(finished(import));
  import.spec.start_vm = true;
  EXPECT_FALSE(finished(import));
  import.status.conditions[0].reason = "VirtualMachineRunning";
  EXPECT_TRUE(finished(import));
  import.spec.start_vm.reset();
  import.spec.warm = true;
  import.status.conditions[0].reason = "VirtualMachineReady";
  import.object.json()["metadata"]["annotations"][std::string(kInitialState)] = "up";
  EXPECT_FALSE(finished(import));
  import.status.conditions[0] = condition("Succeeded", "False", "VMCreationFailed");
  EXPECT_TRUE(finished(import));
}

}  // namespace
}  // namespace vmferry::api
