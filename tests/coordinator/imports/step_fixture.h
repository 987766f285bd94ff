#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "coordinator/imports/steps.h"
#include "coordinator/volumes/directories.h"
#include "tests/coordinator/embedded/store_support.h"
#include "tests/coordinator/imports/scene.h"

namespace vmferry::imports {

// A store that may refuse to give objects of one kind.
class MoodyReader : public kube::Reader {
 public:
  explicit MoodyReader(kube::Reader& below) : below_(below) {}

  std::optional<Error> secret_error;

  Result<kube::Object> get(const kube::ResourceType& type, const kube::ObjectKey& key,
                           std::stop_token stop) override {
    if (secret_error && type == kube::types::kSecret) return *secret_error;
    return below_.get(type, key, stop);
  }
  Result<kube::ObjectList> list(const kube::ResourceType& type, const kube::ListOptions& options,
                                std::stop_token stop) override {
    return below_.list(type, options, stop);
  }
  Result<std::unique_ptr<kube::Watch>> watch(const kube::ResourceType& type,
                                             const kube::ListOptions& options,
                                             const std::string& version,
                                             std::stop_token stop) override {
    return below_.watch(type, options, version, stop);
  }

 private:
  kube::Reader& below_;
};

// Import "web" of a VMware VM, in a cluster that is a store.
class StepFixture : public embedded::StoreFixture {
 protected:
  StepFixture() {
    import_ = make(kube::types::kVirtualMachineImport, import("web"));
    make(kube::types::kStorageClass, kube::Object(nlohmann::json::parse(R"({"metadata": {
        "name": "standard",
        "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}})")));
    memory_.vm = scenes::vmware().vm;
    memory_.vm->name = "web";
    Fleet::Options options;
    options.state_directory = dir_.path("fleet");
    options.keys = keys_;
    auto fleet = Fleet::start(std::move(options), clock_, log_);
    EXPECT_TRUE(fleet) << to_string(fleet.error());
    fleet_ = *std::move(fleet);
    parts_ = std::make_unique<ReconcilerParts>(
        ReconcilerParts{.reader = reader_,
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
  // A step upon the import as it stands in the store.
  StepResult::Kind run(Result<StepResult> (*step)(Pass&)) {
    auto parsed = api::parse_import(*find("web", kube::types::kVirtualMachineImport));
    EXPECT_TRUE(parsed) << to_string(parsed.error());
    Pass pass(*parts_, *std::move(parsed), Ledger{}, memory_, {});
    auto result = step(pass);
    EXPECT_TRUE(result) << to_string(result.error());
    status_ = pass.import.status;
    return result ? result->kind : StepResult::Kind::Failed;
  }
  void change(const nlohmann::json& spec) { patch_import({{"spec", spec}}); }
  void patch_import(const nlohmann::json& patch) {
    ASSERT_TRUE(store_->patch(kube::types::kVirtualMachineImport, import_.key(), patch, {}, {}));
  }
  void map_network() {
    change(nlohmann::json::parse(R"({"source": {"vmware": {"mappings": {"networkMappings": [
        {"source": {"id": "network-7"}, "target": {"name": "pod"}, "type": "pod"}]}}}})"));
  }
  void use_builtin_templates() {
    make(kube::types::kConfigMap,
         kube::Object(nlohmann::json{
             {"metadata", {{"name", "vm-import-controller-config"}, {"namespace", "n"}}},
             {"data", {{"builtinTemplates", "true"}}}}));
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

  const CurveKeys keys_ = CurveKeys::generate();  // the coordinator's
  Logger log_;
  ProviderPool providers_{make_provider, log_};
  kube::EventRecorder events_{*store_, *store_, clock_, log_};
  volumes::DirectoryVolumes volumes_{*store_, *store_, dir_.root()};
  Guarded<std::map<JobId, Renewal>> renewals_;
  MoodyReader reader_{*store_};
  std::unique_ptr<Fleet> fleet_;
  std::unique_ptr<ReconcilerParts> parts_;
  ImportMemory memory_;
  kube::Object import_;
  api::ImportStatus status_;
};

}  // namespace vmferry::imports
