#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "coordinator/imports/steps.h"
#include "coordinator/volumes/directories.h"
#include "tests/coordinator/embedded/store_support.h"
#include "tests/coordinator/imports/spoiled_store.h"

namespace vmferry::imports {

// The last steps of import "web" whose disks are copied, in a cluster that is a store, whose
// answers a test can spoil.
class FinishFixture : public embedded::StoreFixture {
 protected:
  FinishFixture() {
    import_ = make(kube::types::kVirtualMachineImport, import("web"));
    Fleet::Options options;
    options.state_directory = dir_.path("fleet");
    options.keys = CurveKeys::generate();
    auto fleet = Fleet::start(std::move(options), clock_, log_);
    EXPECT_TRUE(fleet) << to_string(fleet.error());
    fleet_ = *std::move(fleet);
    parts_ = std::make_unique<ReconcilerParts>(ReconcilerParts{.reader = spoiled_,
                                                               .writer = spoiled_,
                                                               .volumes = volumes_,
                                                               .fleet = *fleet_,
                                                               .providers = providers_,
                                                               .events = events_,
                                                               .clock = clock_,
                                                               .log = log_,
                                                               .settings = {.embedded = false},
                                                               .renewals = renewals_});
    plan_.vm_name = "web";
    plan_.vm = vm_of(import_).json();
  }
  static nlohmann::json owner_json(const kube::Object& owner, bool controller) {
    return {{"apiVersion", kube::types::kVirtualMachineImport.api_version},
            {"kind", kube::types::kVirtualMachineImport.kind},
            {"name", owner.name()},
            {"uid", owner.uid()},
            {"controller", controller},
            {"blockOwnerDeletion", true}};
  }
  // The planned VM, were it that import's.
  static kube::Object vm_of(const kube::Object& owner) {
    return kube::Object(
        nlohmann::json{{"apiVersion", "kubevirt.io/v1"},
                       {"kind", "VirtualMachine"},
                       {"metadata",
                        {{"name", "web"},
                         {"namespace", "n"},
                         {"annotations", {{std::string(api::kRunStrategy), "RerunOnFailure"}}},
                         {"ownerReferences", nlohmann::json::array({owner_json(owner, true)})}}},
                       {"spec", {{"runStrategy", "Halted"}}}});
  }
  Result<StepResult> run(Result<StepResult> (*step)(Pass&)) {
    memory_.plan = plan_;
    auto parsed = api::parse_import(*find("web", kube::types::kVirtualMachineImport));
    EXPECT_TRUE(parsed) << to_string(parsed.error());
    Pass pass(*parts_, *std::move(parsed), ledger_, memory_, {});
    auto result = step(pass);
    status_ = pass.import.status;
    ledger_ = pass.ledger;
    return result;
  }
  StepResult::Kind ends(Result<StepResult> (*step)(Pass&)) {
    auto result = run(step);
    EXPECT_TRUE(result) << to_string(result.error());
    last_ = result ? *result : StepResult{};
    return result ? result->kind : StepResult::Kind::Failed;
  }

  Logger log_;
  SpoiledStore spoiled_{*store_};
  ProviderPool providers_{make_provider, log_};
  kube::EventRecorder events_{spoiled_, spoiled_, clock_, log_};
  volumes::DirectoryVolumes volumes_{spoiled_, spoiled_, dir_.root()};
  Guarded<std::map<JobId, Renewal>> renewals_;
  std::unique_ptr<Fleet> fleet_;
  std::unique_ptr<ReconcilerParts> parts_;
  Ledger ledger_;
  ImportMemory memory_;
  ImportPlan plan_;
  kube::Object import_;
  api::ImportStatus status_;
  StepResult last_;
};

}  // namespace vmferry::imports
