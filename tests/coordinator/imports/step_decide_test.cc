#include <gmock/gmock.h>

#include "coordinator/rules/findings.h"
#include "tests/coordinator/imports/step_fixture.h"

namespace vmferry::imports {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;

class StepDecideTest : public StepFixture {
 protected:
  StepResult::Kind validate() { return run(validate_import); }
};

TEST_F(StepDecideTest, ATakenNameDoesNotHideTheOtherFindings) {
  make(kube::types::kVirtualMachine,
       kube::Object(json{{"metadata", {{"name", "web"}, {"namespace", "n"}}}}));
  EXPECT_EQ(validate(), StepResult::Kind::Again);
  EXPECT_THAT(blocks(), IsSupersetOf({"request.target_name.taken", "vmware.network.mapping"}));
  EXPECT_EQ(condition("Valid"), "False/DuplicateTargetVMName");
  EXPECT_EQ(condition("MappingRulesVerified"), "False/MappingRulesVerificationFailed");

  map_network();  // what is mended shows, although the import stays blocked
  EXPECT_EQ(validate(), StepResult::Kind::Again);
  EXPECT_EQ(condition("Valid"), "False/DuplicateTargetVMName");
  EXPECT_THAT(condition("MappingRulesVerified"), ::testing::StartsWith("True/"));
}

TEST_F(StepDecideTest, TheFirstFailureGivesTheReason) {
  memory_.vm->name = "!!!";
  EXPECT_EQ(validate(), StepResult::Kind::Again);
  EXPECT_THAT(blocks(), IsSupersetOf({"request.target_name", "vmware.network.mapping"}));
  EXPECT_EQ(condition("Valid"), "False/InvalidTargetVMName");

  change({{"resourceMapping", {{"name", "missing"}}}});
  EXPECT_EQ(validate(), StepResult::Kind::Again);
  EXPECT_THAT(blocks(), IsSupersetOf({"request.resource_mapping", "request.target_name"}));
  EXPECT_EQ(condition("Valid"), "False/ResourceMappingNotFound");
}

// Findings of the request, of source and of cluster stand together.
TEST_F(StepDecideTest, WhatIsWrongWithTheRequestDoesNotHideTheRest) {
  change({{"warm", true}});
  memory_.vm->name = "!!!";
  EXPECT_EQ(run(check_spec), StepResult::Kind::Done);
  memory_.vm->findings = {rules::finding("vmware.vm.power_state")};
  EXPECT_EQ(validate(), StepResult::Kind::Again);
  EXPECT_THAT(blocks(), IsSupersetOf({"request.target_name", "request.warm",
                                      "vmware.network.mapping", "vmware.vm.power_state"}));
  EXPECT_EQ(condition("Valid"), "False/InvalidTargetVMName");
}

TEST_F(StepDecideTest, WhatVddkWouldMendIsNotToldBeforeTheAgentsHaveSpoken) {
  map_network();
  memory_.vm->findings = {rules::finding("vmware.vm.encryption")};
  EXPECT_EQ(validate(), StepResult::Kind::Again);
  EXPECT_EQ(condition("Valid"), "") << "an agent with VDDK may be about to say hello";
  clock_.advance(std::chrono::seconds(60));
  EXPECT_EQ(validate(), StepResult::Kind::Again);
  EXPECT_THAT(condition("Valid") + condition("MappingRulesVerified"), HasSubstr("False/"));
}

TEST_F(StepDecideTest, AnEventTellsEveryTextThatFitsAndHowManyDoNot) {
  for (int i = 0; i < 40; ++i) {
    memory_.vm->findings.push_back(
        rules::finding("vmware.disk.rdm", fmt::format("disk 'Hard disk {}'", i)));
  }
  EXPECT_EQ(validate(), StepResult::Kind::Again);
  const auto events = store_->list(kube::types::kEvent, {}, {});
  ASSERT_TRUE(events);
  ASSERT_EQ(events->items.size(), 1u);
  const std::string text = events->items[0].json()["message"];
  EXPECT_LE(text.size(), 1024u);
  EXPECT_THAT(text, ::testing::StartsWith("n/web: no network mapping for NIC"));
  EXPECT_THAT(text, HasSubstr("disk 'Hard disk 0' is a raw device in physical mode; "));
  EXPECT_THAT(text, ::testing::MatchesRegex(".*; and [0-9]+ more; remedies: .*"));
}

// Once decided, the plan counts: neither the spec nor what it is decided from changes it (W18).
TEST_F(StepDecideTest, Adm16AChangedSpecDoesNotChangeARunningImport) {
  map_network();
  {
    auto parsed = api::parse_import(*find("web", kube::types::kVirtualMachineImport));
    ASSERT_TRUE(parsed);
    Pass pass(*parts_, *std::move(parsed), Ledger{}, memory_, {});
    use_builtin_templates();
    for (const auto step : {validate_import, decide_plan}) {
      const auto result = step(pass);
      ASSERT_TRUE(result && result->kind == StepResult::Kind::Done) << condition("Valid");
    }
  }
  const ImportPlan plan = *memory_.plan;
  change({{"targetVmName", "other"}, {"warm", true}});
  change({{"source", {{"vmware", {{"vm", {{"name", "another"}}}}}}}});
  memory_.plan.reset();  // as after a restart of the coordinator
  for (const auto step : {check_spec, load_plan, validate_import, decide_plan}) {
    EXPECT_EQ(run(step), StepResult::Kind::Done);
  }
  ASSERT_TRUE(memory_.plan);
  EXPECT_EQ(*memory_.plan, plan);
}

// What anybody may write into an annotation gives no import a right.
TEST_F(StepDecideTest, Adm19AForgedProgressSkipsNothing) {
  patch_import(
      {{"metadata",
        {{"annotations",
          {{std::string(api::kProgress), "95"}, {std::string(api::kInitialState), "up"}}}}}});
  EXPECT_EQ(run(load_plan), StepResult::Kind::Done);
  EXPECT_FALSE(memory_.plan);
  EXPECT_EQ(validate(), StepResult::Kind::Again);
  EXPECT_EQ(condition("MappingRulesVerified"), "False/MappingRulesVerificationFailed");
  EXPECT_EQ(condition("Succeeded"), "");
}

}  // namespace
}  // namespace vmferry::imports
