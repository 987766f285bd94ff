// The plan is a ConfigMap, which whoever may edit ConfigMaps of the namespace may write.
#include "coordinator/imports/plan_store.h"

#include <gmock/gmock.h>

#include "common/catalogue.h"
#include "coordinator/imports/ledger_seal.h"
#include "tests/coordinator/imports/step_fixture.h"

namespace vmferry::imports {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class PlanStoreTest : public StepFixture {
 protected:
  PlanStoreTest() {
    parts_->disks = std::make_shared<DiskLocks>(SecretString("the coordinators' key"));
    map_network();
    use_builtin_templates();
  }
  StepResult::Kind decide() {
    auto parsed = api::parse_import(*find("web", kube::types::kVirtualMachineImport));
    Pass pass(*parts_, *std::move(parsed), ledger_, memory_, {});
    for (const auto step : {read_plan, validate_import, decide_plan}) {
      const auto result = step(pass);
      status_ = pass.import.status;
      EXPECT_TRUE(result) << to_string(result.error());
      if (!result || result->kind != StepResult::Kind::Done) return StepResult::Kind::Again;
    }
    return StepResult::Kind::Done;
  }
  StepResult::Kind read() {
    memory_.plan.reset();
    return run(read_plan);
  }
  std::string name() const { return plan_config_map_name(import_.uid()); }
  std::string text() { return find(name())->json()["data"]["plan"].get<std::string>(); }
  void write(const std::string& text) {
    if (find(name())) {
      ASSERT_TRUE(store_->patch(kube::types::kConfigMap, {"n", name()},
                                {{"data", {{"plan", text}}}}, {}, {}));
      return;
    }
    make(kube::types::kConfigMap,
         kube::Object(json{{"metadata",
                            {{"name", name()},
                             {"namespace", "n"},
                             {"labels", {{std::string(api::kImportUid), import_.uid()}}}}},
                           {"data", {{"plan", text}}}}));
  }
  void remove() {
    ASSERT_TRUE(store_->remove(kube::types::kConfigMap, {"n", name()},
                               kube::Propagation::Background, {}, {}));
  }
  // What somebody would write who wants a VM of his own making in another namespace.
  json forged() {
    json vm = {{"apiVersion", "kubevirt.io/v1"},
               {"kind", "VirtualMachine"},
               {"metadata", {{"name", "web"}, {"namespace", "kube-system"}}},
               {"spec", {{"runStrategy", "Always"}}}};
    return {{"vmName", "web"},        {"sourceNativeId", "vm-1"}, {"templateNote", ""},
            {"disks", json::array()}, {"vm", std::move(vm)},      {"dataVolumes", false}};
  }
  std::string why() const {
    const api::Condition* valid = api::find_condition(status_.conditions, "Valid");
    return valid == nullptr ? "" : valid->message;
  }
  std::string seal(const json& plan, const std::string& uid) {
    return sealed(plan.dump(), "plan " + uid, parts_->disks->key());
  }
  Ledger ledger_;
};

TEST_F(PlanStoreTest, APlanWithoutTheCoordinatorsSealIsNotBelieved) {
  write(forged().dump());
  EXPECT_EQ(decide(), StepResult::Kind::Again);
  EXPECT_FALSE(memory_.plan);
  EXPECT_EQ(condition("Valid"), "False/ValidationFailed");
  EXPECT_THAT(why(), HasSubstr(std::string(code::kNameTaken)));
  EXPECT_THAT(why(), HasSubstr("'n/" + name() + "'"));
  EXPECT_THAT(why(), HasSubstr("remove that ConfigMap, and the import is planned anew"));
  EXPECT_EQ(condition("Succeeded"), "");

  remove();
  EXPECT_EQ(decide(), StepResult::Kind::Done);
  EXPECT_THAT(condition("Valid"), ::testing::StartsWith("True/"));
  const ImportPlan plan = *memory_.plan;
  EXPECT_EQ(read(), StepResult::Kind::Done);
  EXPECT_EQ(memory_.plan, plan) << "our own is";
}

// Whoever knows the import's uid may make it between our look and our writing.
TEST_F(PlanStoreTest, OneThatIsThereWhenOursIsKeptIsNotTaken) {
  auto parsed = api::parse_import(*find("web", kube::types::kVirtualMachineImport));
  Pass pass(*parts_, *std::move(parsed), Ledger{}, memory_, {});
  ASSERT_TRUE(validate_import(pass));
  write(forged().dump());
  const auto decided = decide_plan(pass);
  ASSERT_TRUE(decided) << to_string(decided.error());
  EXPECT_EQ(decided->kind, StepResult::Kind::Again);
  EXPECT_FALSE(memory_.plan);
  status_ = pass.import.status;
  EXPECT_THAT(why(), HasSubstr(std::string(code::kNameTaken)));
}

TEST_F(PlanStoreTest, ASealIsOfItsTextAndItsImport) {
  ASSERT_EQ(decide(), StepResult::Kind::Done);
  const std::string own = text();
  json changed = json::parse(own);
  changed["vm"]["spec"]["template"]["spec"]["nodeSelector"] = {{"a", "b"}};
  write(changed.dump());
  EXPECT_EQ(read(), StepResult::Kind::Again) << "changed by somebody";
  json plan = json::parse(own);
  plan.erase("seal");
  write(plan.dump());
  EXPECT_EQ(read(), StepResult::Kind::Again) << "of a version that sealed none";
  write(seal(plan, "another"));
  EXPECT_EQ(read(), StepResult::Kind::Again) << "of another import";
  write(sealed(plan.dump(), import_.uid(), parts_->disks->key()));
  EXPECT_EQ(read(), StepResult::Kind::Again) << "a ledger's seal";
  write(own);
  EXPECT_EQ(read(), StepResult::Kind::Done);
}

TEST_F(PlanStoreTest, WhatASealedPlanNamesMustBeTheImports) {
  ASSERT_EQ(decide(), StepResult::Kind::Done);
  json plan = json::parse(text());
  plan.erase("seal");
  const auto refuses = [&](const char* pointer, const json& value) {
    json other = plan;
    other[json::json_pointer(pointer)] = value;
    write(seal(other, import_.uid()));
    return read() == StepResult::Kind::Again && !memory_.plan;
  };
  EXPECT_TRUE(refuses("/vm/metadata/namespace", "other"));
  EXPECT_TRUE(refuses("/vm/metadata/namespace", ""));
  EXPECT_TRUE(refuses("/vm/metadata/name", "other"));
  EXPECT_TRUE(refuses("/vm/metadata/ownerReferences/0/uid", "other"));
  EXPECT_TRUE(refuses("/vm/metadata/ownerReferences", json::array()));
  EXPECT_TRUE(refuses("/vm/metadata/labels", json::object()));
  EXPECT_TRUE(refuses("/vm", "text"));
  EXPECT_TRUE(refuses("/disks/0/claim", "../other/claims/a"));
  EXPECT_FALSE(refuses("/templateNote", "anything"));
}

TEST_F(PlanStoreTest, OnceItHasBegunTheRemedyIsToUndoIt) {
  write(forged().dump());
  ledger_.claims = {{"web-0", "uid"}};
  EXPECT_EQ(decide(), StepResult::Kind::Again);
  EXPECT_THAT(why(), HasSubstr("delete the import"));
}

TEST_F(PlanStoreTest, NothingIsCreatedOutsideTheImportsNamespace) {
  auto parsed = api::parse_import(*find("web", kube::types::kVirtualMachineImport));
  Pass pass(*parts_, *std::move(parsed), Ledger{}, memory_, {});
  kube::Object vm(forged()["vm"]);
  const auto made = pass.create(kube::types::kVirtualMachine, vm);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().kind(), ErrorKind::InvalidArgument);
  memory_.plan = ImportPlan{};
  memory_.plan->vm_name = "web";
  memory_.plan->vm = vm.json();
  const auto created = create_vm(pass);
  ASSERT_TRUE(created) << to_string(created.error());
  EXPECT_EQ(created->kind, StepResult::Kind::Failed);
  EXPECT_FALSE(store_->get(kube::types::kVirtualMachine, {"kube-system", "web"}, {}));
}

}  // namespace
}  // namespace vmferry::imports
