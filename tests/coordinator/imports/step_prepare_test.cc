#include <gmock/gmock.h>

#include "coordinator/imports/import_reconciler.h"
#include "tests/coordinator/imports/step_fixture.h"

namespace vmferry::imports {
namespace {

using ::testing::HasSubstr;

// Whole passes of the reconciler, up to where a source would be asked.
class StepPrepareTest : public StepFixture {
 protected:
  // The pass's answer; the status that it leaves in status_.
  Result<kube::Outcome> reconcile() {
    auto outcome = reconciler_.reconcile(import_.key(), {});
    auto parsed = api::parse_import(*find("web", kube::types::kVirtualMachineImport));
    EXPECT_TRUE(parsed);
    status_ = parsed->status;
    return outcome;
  }
  ImportReconciler reconciler_{*parts_};
};

TEST_F(StepPrepareTest, Api37AMissingSecretEndsANewImport) {
  const auto outcome = reconcile();
  ASSERT_TRUE(outcome) << to_string(outcome.error());
  EXPECT_FALSE(outcome->requeue_after);
  EXPECT_EQ(condition("Valid"), "False/SecretNotFound");
  EXPECT_EQ(condition("Succeeded"), "False/ValidationFailed");
  EXPECT_EQ(status_.conditions.size(), 2u);
  EXPECT_THAT(status_.conditions[0].message, HasSubstr("'n/s'"));
}

TEST_F(StepPrepareTest, Api38ASecretThatIsKeptFromUsEndsANewImport) {
  reader_.secret_error = Error(ErrorKind::PermissionDenied, "secrets \"s\" is forbidden");
  const auto outcome = reconcile();
  ASSERT_TRUE(outcome) << to_string(outcome.error());
  EXPECT_FALSE(outcome->requeue_after);
  EXPECT_EQ(condition("Valid"), "");
  EXPECT_EQ(condition("Succeeded"), "False/ValidationFailed");
  EXPECT_THAT(status_.conditions[0].message, HasSubstr("is forbidden"));
}

TEST_F(StepPrepareTest, AnApiThatIsAwayForAMomentEndsNothing) {
  reader_.secret_error = Error(ErrorKind::Unavailable, "no answer");
  EXPECT_FALSE(reconcile());  // and so it is tried again
  EXPECT_EQ(condition("Succeeded"), "");
  reader_.secret_error.reset();
  EXPECT_TRUE(reconcile());
  EXPECT_EQ(condition("Valid"), "False/SecretNotFound");
}

TEST_F(StepPrepareTest, WhatForbidsAskingTheSourceIsToldBefore) {
  change({{"providerCredentialsSecret", {{"name", "s"}, {"namespace", "other"}}}});
  ASSERT_TRUE(reconcile());
  EXPECT_THAT(blocks(), ::testing::ElementsAre("request.secret.namespace"));
  EXPECT_EQ(condition("Valid"), "False/UninitializedProvider");
  EXPECT_EQ(condition("Succeeded"), "");
}

// What an import makes is found by a name of its UID: nothing is looked up by label, so that
// neither a label of the same text nor many objects that carry it mislead.
TEST_F(StepPrepareTest, Api50And51And52And53And54ThePlanIsTheImportsOwn) {
  EXPECT_EQ(run(load_plan), StepResult::Kind::Done);  // API-50: none is no error
  EXPECT_FALSE(memory_.plan);
  const auto foreign = [&](const char* name) {
    make(kube::types::kConfigMap,
         kube::Object(nlohmann::json{{"metadata",
                                      {{"name", name},
                                       {"namespace", "n"},
                                       {"labels",
                                        {{"vmimport.v2v.kubevirt.io/vmi-name", "web"},
                                         {std::string(api::kImportUid), import_.uid()}}}}},
                                     {"data", {{"plan", "rubbish"}}}}));
  };
  foreign("one");
  foreign("two");  // API-52
  EXPECT_EQ(run(load_plan), StepResult::Kind::Done);
  EXPECT_FALSE(memory_.plan);

  map_network();
  use_builtin_templates();
  {
    auto parsed = api::parse_import(*find("web", kube::types::kVirtualMachineImport));
    Pass pass(*parts_, *std::move(parsed), Ledger{}, memory_, {});
    for (const auto step : {validate_import, decide_plan}) {
      const auto result = step(pass);
      ASSERT_TRUE(result && result->kind == StepResult::Kind::Done);
    }
  }
  const auto kept = find(plan_config_map_name(import_.uid()));  // API-53, API-51
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->labels().at(std::string(api::kImportUid)), import_.uid());
  ASSERT_EQ(kept->owners().size(), 1u);
  EXPECT_EQ(kept->owners()[0].uid, import_.uid());

  for (int i = 0; i < 2; ++i) {  // API-54: the second time there is none
    memory_.plan.reset();
    patch_import({{"metadata", {{"finalizers", {std::string(api::kCleanupFinalizer)}}}}});
    auto parsed = api::parse_import(*find("web", kube::types::kVirtualMachineImport));
    Pass pass(*parts_, *std::move(parsed), Ledger{}, memory_, {});
    const auto cleaned = clean_up_finished(pass);
    ASSERT_TRUE(cleaned && *cleaned);
    EXPECT_FALSE(find(plan_config_map_name(import_.uid())));
  }
  EXPECT_TRUE(find("one") && find("two"));
}

}  // namespace
}  // namespace vmferry::imports
