#include <gmock/gmock.h>

#include <algorithm>
#include <memory>

#include "coordinator/imports/steps.h"
#include "coordinator/volumes/directories.h"
#include "tests/coordinator/embedded/store_support.h"
#include "tests/coordinator/imports/scene.h"

namespace vmferry::imports {
namespace {

using kube::types::kVirtualMachineImport;
using nlohmann::json;
using ::testing::IsSupersetOf;

// Import "web" of a VMware VM, decided in a cluster that is a store.
class StepDecideTest : public embedded::StoreFixture {
 protected:
  StepDecideTest() {
    import_ = make(kVirtualMachineImport, import("web"));
    make(kube::types::kStorageClass, kube::Object(json::parse(R"({"metadata": {"name": "standard",
        "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}})")));
    memory_.vm = scenes::vmware().vm;
    memory_.vm->name = "web";
    Fleet::Options options;
    options.state_directory = dir_.path("fleet");
    options.keys = CurveKeys::generate();
    auto fleet = Fleet::start(std::move(options), clock_, log_);
    EXPECT_TRUE(fleet) << to_string(fleet.error());
    fleet_ = *std::move(fleet);
    parts_ = std::make_unique<ReconcilerParts>(
        ReconcilerParts{.reader = *store_,
                        .writer = *store_,
                        .volumes = volumes_,
                        .fleet = *fleet_,
                        .providers = providers_,
                        .events = events_,
                        .clock = clock_,
                        .log = log_,
                        .settings = {.embedded = false, .config_namespace = "n"},
                        .renewals = renewals_});
  }
  StepResult::Kind validate() {
    auto parsed = api::parse_import(*find("web", kVirtualMachineImport));
    EXPECT_TRUE(parsed) << to_string(parsed.error());
    Pass pass(*parts_, *std::move(parsed), Ledger{}, memory_, {});
    auto result = validate_import(pass);
    EXPECT_TRUE(result) << to_string(result.error());
    status_ = pass.import.status;
    return result ? result->kind : StepResult::Kind::Failed;
  }
  void change(const json& spec) {
    ASSERT_TRUE(store_->patch(kVirtualMachineImport, import_.key(), {{"spec", spec}}, {}, {}));
  }
  void map_network() {
    change(json::parse(R"({"source": {"vmware": {"mappings": {"networkMappings": [
        {"source": {"id": "network-7"}, "target": {"name": "pod"}, "type": "pod"}]}}}})"));
  }
  std::string condition(const char* type) const {
    const api::Condition* found = api::find_condition(status_.conditions, type);
    return found == nullptr ? "" : found->status + "/" + found->reason;
  }
  std::vector<std::string> blocks() const {
    std::vector<std::string> rules;
    for (const Finding& finding : status_.findings) {
      if (finding.level != FindingLevel::Block) continue;
      rules.push_back(finding.rule);
      EXPECT_NE(finding.remedy, "") << finding.rule;
    }
    return rules;
  }

  Logger log_;
  ProviderPool providers_{make_provider, log_};
  kube::EventRecorder events_{*store_, *store_, clock_, log_};
  volumes::DirectoryVolumes volumes_{*store_, *store_, dir_.root()};
  Guarded<std::map<JobId, Renewal>> renewals_;
  std::unique_ptr<Fleet> fleet_;
  std::unique_ptr<ReconcilerParts> parts_;
  ImportMemory memory_;
  kube::Object import_;
  api::ImportStatus status_;
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

}  // namespace
}  // namespace vmferry::imports
