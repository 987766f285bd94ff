#pragma once

#include <gmock/gmock.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "coordinator/imports/import_reconciler.h"
#include "coordinator/imports/steps.h"
#include "coordinator/volumes/directories.h"
#include "tests/coordinator/embedded/store_support.h"
#include "tests/coordinator/imports/spoiled_store.h"
#include "tests/support/ovirt_engine_fixture.h"

namespace vmferry::imports {

// The reconciler with everything that it works with, but agents: a store whose answers a test can
// spoil, an oVirt engine whose VM "web" has two disks, and the import "web" of it in namespace "n".
// Time goes on as the test says; it calls pass after pass.
class LifecycleScene : public embedded::StoreFixture {
 protected:
  using json = nlohmann::json;

  void SetUp() override {
    if (const std::string why = testing::OvirtBed::missing(); !why.empty()) GTEST_SKIP() << why;
  }

  void begin(json vm = json::object()) {
    json web = {{"name", "web"},
                {"disks",
                 {{{"image", "a.img"}, {"alias", "boot"}, {"bootable", true}},
                  {{"image", "b.img"}, {"alias", "data"}}}},
                {"nics", {{{"name", "nic1"}}}},
                {"os_type", "rhel_8x64"},
                {"bios_type", "q35_sea_bios"},
                {"shutdown_seconds", 0.1},
                {"start_seconds", 0.1}};
    web.merge_patch(vm);
    const json fast = {{"initializing_seconds", 0.05},
                       {"finalizing_seconds", 0.05},
                       {"unlock_seconds", 0.05},
                       {"monitor_seconds", 0.05}};
    testing::OvirtBed::Options options;
    options.inventory = {{"engine", fast}, {"vms", json::array({web})}};
    options.images = {{"a.img", 4u << 20}, {"b.img", (1u << 20) + 512}};
    bed_ = testing::OvirtBed::start(std::move(options));
    ASSERT_NE(bed_, nullptr);
    make(kube::types::kStorageClass,
         kube::Object(
             json{{"metadata",
                   {{"name", "standard"},
                    {"annotations", {{"storageclass.kubernetes.io/is-default-class", "true"}}}}},
                  {"provisioner", "vmferry.io/directory"},
                  {"parameters", {{"path", dir_.path("volumes")}}}}));
    make_secret(bed_->password());
    start();
  }
  void make_secret(const std::string& password) {
    const json text = {{"apiUrl", bed_->url()},
                       {"username", bed_->user()},
                       {"password", password},
                       {"caCert", bed_->ca_pem()}};
    make(kube::types::kSecret, kube::Object(json{{"metadata", {{"name", "s"}, {"namespace", "n"}}},
                                                 {"stringData", {{"ovirt", text.dump()}}}}));
  }
  // A coordinator that has just started: nothing is in its memory.
  void start() {
    reconciler_.reset();
    providers_.reset();
    fleet_.reset();
    Fleet::Options options;
    options.state_directory = dir_.path("fleet");
    options.keys = keys_;
    auto fleet = Fleet::start(std::move(options), clock_, log_);
    ASSERT_TRUE(fleet) << to_string(fleet.error());
    fleet_ = *std::move(fleet);
    spoiled_ = std::make_unique<SpoiledStore>(*store_);
    volumes_ = std::make_unique<volumes::DirectoryVolumes>(*spoiled_, *spoiled_, dir_.root());
    events_ = std::make_unique<kube::EventRecorder>(*spoiled_, *spoiled_, clock_, log_);
    providers_ = std::make_unique<ProviderPool>(make_provider, log_);
    reconciler_ = std::make_unique<ImportReconciler>(ReconcilerParts{.reader = *spoiled_,
                                                                     .writer = *spoiled_,
                                                                     .volumes = *volumes_,
                                                                     .fleet = *fleet_,
                                                                     .providers = *providers_,
                                                                     .events = *events_,
                                                                     .clock = clock_,
                                                                     .log = log_,
                                                                     .settings = settings_,
                                                                     .renewals = renewals_,
                                                                     .disks = disks()});
  }
  static std::shared_ptr<DiskLocks> disks() {
    return std::make_shared<DiskLocks>(SecretString("the coordinators' key"));
  }
  Ledger ledger(const std::string& name = "web") {
    const auto found = object(name);
    auto read = found ? ledger_of(*found) : make_error(ErrorKind::NotFound, "no import");
    EXPECT_TRUE(read) << to_string(read.error());
    return read ? *std::move(read) : Ledger{};
  }
  void TearDown() override {
    reconciler_.reset();
    providers_.reset();
  }

  static json mappings() {
    return {{"networkMappings",
             {{{"source", {{"name", "ovirtmgmt/ovirtmgmt"}}},
               {"target", {{"name", "pod"}}},
               {"type", "pod"}}}},
            {"storageMappings",
             {{{"source", {{"name", "data"}}}, {"target", {{"name", "standard"}}}}}}};
  }
  kube::Object make_import(json spec = json::object(), json metadata = json::object(),
                           const std::string& name = "web") {
    json tree = {{"metadata", {{"name", name}, {"namespace", "n"}}},
                 {"spec",
                  {{"providerCredentialsSecret", {{"name", "s"}}},
                   {"source",
                    {{"ovirt",
                      {{"vm", {{"name", "web"}, {"cluster", {{"name", "Default"}}}}},
                       {"mappings", mappings()}}}}}}}};
    if (!spec.is_null()) tree["spec"].merge_patch(spec);
    if (!metadata.is_null()) tree["metadata"].merge_patch(metadata);
    return make(kube::types::kVirtualMachineImport, kube::Object(tree));
  }
  std::optional<kube::Object> object(const std::string& name = "web") {
    return find(name, kube::types::kVirtualMachineImport);
  }
  api::ImportStatus status(const std::string& name = "web") {
    const auto found = object(name);
    auto parsed = found ? api::parse_import(*found) : make_error(ErrorKind::NotFound, "no import");
    EXPECT_TRUE(parsed) << to_string(parsed.error());
    return parsed ? parsed->status : api::ImportStatus();
  }
  // "False/SecretNotFound", or nothing.
  std::string condition(const char* type, const std::string& name = "web") {
    const auto all = status(name).conditions;
    const api::Condition* found = api::find_condition(all, type);
    return found == nullptr ? "" : found->status + "/" + found->reason;
  }
  std::string message(const char* type) {
    const auto all = status().conditions;
    const api::Condition* found = api::find_condition(all, type);
    return found == nullptr ? "" : found->message;
  }
  std::vector<kube::Object> all_of(const kube::ResourceType& type) {
    auto listed = store_->list(type, {.ns = "n", .label_selector = {}}, {});
    EXPECT_TRUE(listed) << to_string(listed.error());
    return listed ? std::move(listed->items) : std::vector<kube::Object>();
  }
  std::vector<std::string> events() {
    std::vector<std::string> reasons;
    for (const kube::Object& event : all_of(kube::types::kEvent)) {
      reasons.push_back(event.json().value("reason", "") + ": " +
                        event.json().value("message", ""));
    }
    return reasons;
  }

  Result<kube::Outcome> pass(const std::string& name = "web") {
    return reconciler_->reconcile({"n", name}, {});
  }
  // Passes, as the controller makes them, until `done`; errors are tried again.
  bool pass_until(const std::function<bool()>& done, const std::string& name = "web") {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (std::chrono::steady_clock::now() < until) {
      const auto outcome = pass(name);
      if (done()) return true;
      last_ = outcome ? "" : to_string(outcome.error());
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      clock_.advance(std::chrono::milliseconds(200));
    }
    ADD_FAILURE() << "last error: " << last_ << "; Valid " << condition("Valid", name)
                  << ", Processing " << condition("Processing", name) << ", Succeeded "
                  << condition("Succeeded", name);
    return false;
  }
  bool reaches(const std::string& processing) {
    return pass_until([&] { return condition("Processing") == "True/" + processing; });
  }

  const CurveKeys keys_ = CurveKeys::generate();
  Logger log_;
  ReconcilerSettings settings_{.embedded = true, .config_namespace = "n"};
  Guarded<std::map<JobId, Renewal>> renewals_;
  std::unique_ptr<testing::OvirtBed> bed_;
  std::unique_ptr<SpoiledStore> spoiled_;
  std::unique_ptr<Fleet> fleet_;
  std::unique_ptr<ProviderPool> providers_;
  std::unique_ptr<kube::EventRecorder> events_;
  std::unique_ptr<volumes::DirectoryVolumes> volumes_;
  std::unique_ptr<ImportReconciler> reconciler_;
  std::string last_;
};

}  // namespace vmferry::imports
