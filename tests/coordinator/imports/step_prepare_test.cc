#include <gmock/gmock.h>

#include <algorithm>

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

// What the API server would not take, and holds all the same: of the time of another CRD, say.
class UnreadableImportTest : public StepPrepareTest {
 protected:
  Result<kube::Outcome> reconcile() {
    SpoiledReader reader(*store_, *this);
    ReconcilerParts parts{.reader = reader,
                          .writer = *store_,
                          .volumes = volumes_,
                          .fleet = *fleet_,
                          .providers = providers_,
                          .events = events_,
                          .clock = clock_,
                          .log = log_,
                          .settings = {.embedded = false, .config_namespace = "n"},
                          .renewals = renewals_};
    return ImportReconciler(parts).reconcile(import_.key(), {});
  }
  nlohmann::json status() {
    return find("web", kube::types::kVirtualMachineImport)
        ->json()
        .value("status", nlohmann::json());
  }
  std::string event_text(const std::string& reason) {
    const auto all = store_->list(kube::types::kEvent, {.ns = "n", .label_selector = ""}, {});
    for (const kube::Object& event : all->items) {
      if (event.json()["reason"] == reason) return event.json()["message"].get<std::string>();
    }
    return "";
  }

  class SpoiledReader final : public MoodyReader {
   public:
    SpoiledReader(kube::Reader& below, UnreadableImportTest& test)
        : MoodyReader(below), test_(test) {}
    Result<kube::Object> get(const kube::ResourceType& type, const kube::ObjectKey& key,
                             std::stop_token stop) override {
      auto object = MoodyReader::get(type, key, stop);
      if (!object || type != kube::types::kVirtualMachineImport || !test_.patch_) return object;
      object->json().merge_patch(*test_.patch_);
      return object;
    }

   private:
    UnreadableImportTest& test_;
  };
  std::optional<nlohmann::json> patch_;  // on each import that is read
};

TEST_F(UnreadableImportTest, ItsAuthorIsToldWhatIsWrongAndWhatWasDoneStays) {
  ASSERT_TRUE(
      store_->patch_status(kube::types::kVirtualMachineImport, import_.key(),
                           {{"status",
                             {{"conditions", {{{"type", "Processing"}, {"status", "True"}}}},
                              {"disks", {{{"name", "boot"}, {"phase", "Done"}}}}}}},
                           {}));
  patch_ = nlohmann::json{{"spec", {{"startVm", "maybe"}}}};
  for (int i = 0; i < 2; ++i) {
    const auto outcome = reconcile();
    ASSERT_TRUE(outcome) << to_string(outcome.error());
    EXPECT_FALSE(outcome->requeue_after) << "a corrected object brings it back";
  }
  const nlohmann::json now = status();
  ASSERT_EQ(now["conditions"].size(), 2U);
  EXPECT_EQ(now["conditions"][0]["type"], "Processing");
  EXPECT_EQ(now["conditions"][1]["type"], "Valid");
  EXPECT_EQ(now["conditions"][1]["status"], "False");
  EXPECT_EQ(now["conditions"][1]["reason"], "ValidationFailed");
  EXPECT_THAT(now["conditions"][1]["message"].get<std::string>(),
              ::testing::AllOf(HasSubstr("spec.startVm"), HasSubstr("goes on by itself")));
  EXPECT_EQ(now["disks"][0]["phase"], "Done");
  EXPECT_THAT(event_text("ImportBlocked"), HasSubstr("spec.startVm"));

  patch_.reset();  // corrected
  ASSERT_TRUE(reconcile());
  EXPECT_THAT(status().dump(), HasSubstr("SecretNotFound"));
}

TEST_F(UnreadableImportTest, ItsDeletionUndoesWhatTheLedgerKnowsAndTakesOurFinalizersAway) {
  for (const nlohmann::json& damage :
       {nlohmann::json{{"spec", {{"source", {{"vmware", {{"vm", {{"id", 7}}}}}}}}}},
        nlohmann::json{{"spec", {{"source", "nothing"}}}},
        nlohmann::json{{"status", {{"conditions", "none"}}}}, nlohmann::json{{"status", 5}}}) {
    SCOPED_TRACE(damage.dump());
    if (!find("web", kube::types::kVirtualMachineImport)) {
      import_ = make(kube::types::kVirtualMachineImport, import("web"));
    }
    make(kube::types::kPersistentVolumeClaim,
         kube::Object(
             nlohmann::json{{"metadata",
                             {{"name", "web-boot"},
                              {"namespace", "n"},
                              {"finalizers", {"vmferry.io/claim-data"}},
                              {"annotations", {{"vmferry.io/class-path", dir_.root()}}},
                              {"ownerReferences",
                               {{{"apiVersion", kube::types::kVirtualMachineImport.api_version},
                                 {"kind", kube::types::kVirtualMachineImport.kind},
                                 {"name", "web"},
                                 {"uid", import_.uid()},
                                 {"controller", true}}}}}}}));
    Ledger ledger;
    ledger.claims["web-boot"] = find("web-boot", kube::types::kPersistentVolumeClaim)->uid();
    patch_import({{"metadata",
                   {{"finalizers", {std::string(api::kCleanupFinalizer)}},
                    {"annotations", {{std::string(api::kLedger), to_text(ledger)}}}}}});
    ASSERT_TRUE(store_->remove(kube::types::kVirtualMachineImport, import_.key(),
                               kube::Propagation::Background, {}, {}));
    patch_ = damage;
    for (int i = 0; i < 5 && find("web", kube::types::kVirtualMachineImport); ++i) {
      const auto outcome = reconcile();
      EXPECT_TRUE(outcome) << to_string(outcome.error());
    }
    EXPECT_FALSE(find("web", kube::types::kVirtualMachineImport));
    // The collector alone would leave the claim to its finalizer.
    EXPECT_FALSE(find("web-boot", kube::types::kPersistentVolumeClaim));
  }
}

TEST_F(UnreadableImportTest, AFinishedOneIsNotUndoneWhateverItLooksLike) {
  patch_import({{"metadata",
                 {{"finalizers", {std::string(api::kCleanupFinalizer)}},
                  {"annotations", {{std::string(api::kProgress), "100"}}}}}});
  make(kube::types::kVirtualMachine,
       kube::Object(nlohmann::json{{"metadata",
                                    {{"name", "web"},
                                     {"namespace", "n"},
                                     {"labels", {{std::string(api::kImportUid), import_.uid()}}}}},
                                   {"spec", {{"runStrategy", "Halted"}}}}));
  Ledger ledger;
  ledger.claims["web-boot"] = "u";
  patch_import({{"metadata", {{"annotations", {{std::string(api::kLedger), to_text(ledger)}}}}}});
  ASSERT_TRUE(store_->remove(kube::types::kVirtualMachineImport, import_.key(),
                             kube::Propagation::Orphan, {}, {}));
  patch_ = nlohmann::json{{"status", {{"targetVmName", "web"}, {"conditions", "none"}}}};
  ASSERT_TRUE(reconcile());
  EXPECT_FALSE(find("web", kube::types::kVirtualMachineImport));
  EXPECT_TRUE(find("web", kube::types::kVirtualMachine));
}

TEST_F(UnreadableImportTest, ADamagedLedgerIsToldAndAMendedOneGoneOnWith) {
  for (const char* text : {"rubbish", "[]", R"({"claims": 5})"}) {
    SCOPED_TRACE(text);
    patch_import({{"metadata", {{"annotations", {{std::string(api::kLedger), text}}}}}});
    const auto outcome = reconcile();
    ASSERT_TRUE(outcome) << to_string(outcome.error());
    EXPECT_FALSE(outcome->requeue_after);
    const nlohmann::json valid = status()["conditions"][0];
    EXPECT_EQ(valid["type"], "Valid");
    EXPECT_EQ(valid["status"], "False");
    EXPECT_EQ(valid["reason"], "DamagedLedger");
    EXPECT_THAT(valid["message"].get<std::string>(),
                ::testing::AllOf(HasSubstr(api::kLedger), HasSubstr("delete the import")));
  }
  patch_import({{"metadata", {{"annotations", {{std::string(api::kLedger), nullptr}}}}}});
  ASSERT_TRUE(reconcile());
  EXPECT_THAT(status().dump(), HasSubstr("SecretNotFound"));
}

TEST_F(UnreadableImportTest, WithADamagedLedgerADeletionEndsAndSaysWhatToLookAt) {
  patch_import({{"metadata",
                 {{"finalizers", {std::string(api::kCleanupFinalizer)}},
                  {"annotations", {{std::string(api::kLedger), "rubbish"}}}}}});
  ASSERT_TRUE(store_->remove(kube::types::kVirtualMachineImport, import_.key(),
                             kube::Propagation::Background, {}, {}));
  ASSERT_TRUE(reconcile());
  EXPECT_FALSE(find("web", kube::types::kVirtualMachineImport));
  EXPECT_THAT(event_text("SourceNotRestored"), HasSubstr("by hand"));
}

// Every five seconds at first (lifecycle.md 11), then less and less often, and soon again after it
// went well once.
TEST_F(StepPrepareTest, WhatNobodyMendsIsLookedAtMoreSeldom) {
  change({{"providerCredentialsSecret", {{"name", "s"}, {"namespace", "other"}}}});
  std::vector<std::chrono::nanoseconds> waits;
  for (int i = 0; i < 60; ++i) {
    const auto outcome = reconcile();
    ASSERT_TRUE(outcome && outcome->requeue_after);
    waits.push_back(*outcome->requeue_after);
  }
  for (int i = 0; i < 12; ++i)
    EXPECT_EQ(waits[static_cast<std::size_t>(i)], std::chrono::seconds(5));
  EXPECT_LE(*std::ranges::max_element(waits), std::chrono::seconds(60));
  EXPECT_GE(waits.back(), std::chrono::seconds(45));
  change({{"targetVmName", "another"}});
  EXPECT_EQ(reconcile()->requeue_after, std::chrono::seconds(5)) << "its author works on it";
}

// The secret of an import that has begun is read now and then, of a new one in every pass.
TEST_F(StepPrepareTest, ARunningImportReadsItsSecretNowAndThen) {
  make(kube::types::kSecret,
       kube::Object(nlohmann::json{
           {"metadata", {{"name", "s"}, {"namespace", "n"}}},
           {"stringData",
            {{"vmware", "apiUrl: https://vcenter.invalid/sdk\nusername: u\npassword: p\n"}}}}));
  const auto obtained = [&] {
    auto parsed = api::parse_import(*find("web", kube::types::kVirtualMachineImport));
    Pass pass(*parts_, *std::move(parsed), Ledger{}, memory_, {});
    return obtain_provider(pass).ok();
  };
  ASSERT_TRUE(obtained());
  reader_.secret_error = Error(ErrorKind::Unavailable, "no answer");
  EXPECT_FALSE(obtained()) << "a new one reads it in every pass";
  reader_.secret_error.reset();
  patch_import({{"metadata", {{"annotations", {{std::string(api::kProgress), "40"}}}}}});
  ASSERT_TRUE(obtained());
  reader_.secret_error = Error(ErrorKind::Unavailable, "no answer");
  EXPECT_TRUE(obtained());
  clock_.advance(std::chrono::seconds(21));
  memory_.idle_passes = 40;  // it waits, as thousands may
  EXPECT_TRUE(obtained());
  memory_.idle_passes = 0;
  EXPECT_FALSE(obtained());
}

}  // namespace
}  // namespace vmferry::imports
