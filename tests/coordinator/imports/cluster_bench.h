#pragma once

#include <gmock/gmock.h>

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/guarded.h"
#include "coordinator/access/subject_access_reviews.h"
#include "coordinator/imports/import_reconciler.h"
#include "coordinator/kube/server_types.h"
#include "coordinator/volumes/cluster/cluster_volumes.h"
#include "tests/coordinator/fleet/fake_agent.h"
#include "tests/coordinator/imports/scene.h"
#include "tests/coordinator/kube/kube_test_support.h"

namespace vmferry::imports {

// A source with one VM, whose disks nobody reads: the agent of these tests copies nothing.
struct SourceOfOne {
  SourceVm vm;
  std::optional<Error> unreachable;
  PowerState power = PowerState::Down;
};

class ProviderOfOne final : public Provider {
 public:
  explicit ProviderOfOne(Guarded<SourceOfOne>& source) : source_(source) {}
  ProviderKind kind() const override { return ProviderKind::Vmware; }
  Result<void> check_connection(std::stop_token) override {
    if (const auto error = source_.lock()->unreachable) return *error;
    return {};
  }
  Result<SourceVm> find_vm(const VmRef&, std::stop_token) override { return source_.lock()->vm; }
  Result<PowerState> power_state(const std::string&, std::stop_token) override {
    return source_.lock()->power;
  }
  Result<void> request_stop(const std::string&, bool, std::stop_token) override {
    source_.lock()->power = PowerState::Down;
    return {};
  }
  Result<void> start(const std::string&, std::stop_token) override {
    source_.lock()->power = PowerState::Up;
    return {};
  }
  Result<WayChoice> choose_way(const SourceVm&, const SourceDisk&, bool, std::stop_token) override {
    return WayChoice{DiskWay::FlatFile, "a test"};
  }
  Result<DiskOpening> open_disk(const SourceVm&, const SourceDisk& disk, const std::string&,
                                std::stop_token) override {
    DiskEndpoint endpoint;
    endpoint.url = "https://esxi.invalid/" + disk.id;
    endpoint.size_bytes = disk.size_bytes;
    return DiskOpening{.handle = "", .endpoint = std::move(endpoint), .why = "a test"};
  }
  Result<DiskOpening> poll_disk(const SourceVm& vm, const SourceDisk& disk, const std::string&,
                                std::stop_token stop) override {
    return open_disk(vm, disk, "", stop);
  }
  Result<DiskOpening> renew(const SourceVm&, const SourceDisk&, const std::string&,
                            std::stop_token) override {
    return make_error(ErrorKind::Unimplemented, "nothing to renew");
  }
  Result<bool> release_disk(const std::string&, const std::string&, const std::string&, bool,
                            std::stop_token) override {
    return true;
  }
  void close() override {}

 private:
  Guarded<SourceOfOne>& source_;
};

// The reconciler with cluster volumes against the real API server, in this process; a provider of
// one VM before it, an agent that says that it copied behind it. What the nodes do is played:
// volumes, scheduling, pods that run and go. ns_ has the import, ours_ the configuration.
class ClusterBench : public kube::KubeTest {
 protected:
  using json = nlohmann::json;

  void SetUp() override {
    KubeTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    ours_ = bed_->make_namespace("ours");
    class_ = "class-" + ns_;
    storage_class(class_);
    bed_->try_request("POST", "/api/v1/nodes", {{"metadata", {{"name", "node-1"}}}});
    config({{"importWithoutTemplate", "true"}});
    secret(ns_, "vcenter");
    auto scene = scenes::vmware();
    scene.vm.native_id = "vm-7";
    scene.vm.name = "web";
    scene.vm.power = PowerState::Down;
    for (SourceDisk& disk : scene.vm.disks) disk.storage_id = "datastore-1";
    source_.lock()->vm = scene.vm;

    state_ = ::testing::TempDir() + "vmferry-bench-XXXXXX";
    ASSERT_NE(::mkdtemp(state_.data()), nullptr);
    Fleet::Options options;
    options.state_directory = state_;
    options.keys = keys_;
    options.heartbeat_every = std::chrono::milliseconds(100);
    options.settle = std::chrono::milliseconds(100);
    adjust(options);
    auto fleet = Fleet::start(std::move(options), clock_, log_);
    ASSERT_TRUE(fleet.ok()) << to_string(fleet.error());
    fleet_ = *std::move(fleet);
    agent_.emplace(agent_options());
    start_reconciler(*cluster_);
  }
  test::FakeAgent::Options agent_options() const {
    return {.address = fleet_->address(),
            .server_key = keys_.public_key,
            .id = "node-1",
            .node = "node-1"};
  }
  void TearDown() override {
    reconciler_.reset();
    agent_.reset();
    fleet_.reset();
    if (!state_.empty()) std::filesystem::remove_all(state_);
    if (!class_.empty() && bed_ != nullptr) {
      bed_->try_request("DELETE", "/apis/storage.k8s.io/v1/storageclasses/" + class_);
    }
    KubeTest::TearDown();
  }

  virtual void adjust(Fleet::Options&) {}

  // Also in a test's middle: as a coordinator that was started anew, or with other rights.
  void start_reconciler(kube::Cluster& with) {
    reconciler_.reset();
    volumes::ClusterVolumes::Settings settings;
    settings.holder.image = "vmferry:test";
    volumes_.emplace(with.reader(), with.reader(), with.writer(), settings, clock_);
    access_.emplace(with.writer(), clock_);
    events_.emplace(with.reader(), with.writer(), clock_, log_);
    reconciler_.emplace(ReconcilerParts{.reader = with.reader(),
                                        .writer = with.writer(),
                                        .volumes = *volumes_,
                                        .fleet = *fleet_,
                                        .providers = providers_,
                                        .events = *events_,
                                        .clock = clock_,
                                        .log = log_,
                                        .settings = {.embedded = false, .config_namespace = ours_},
                                        .renewals = renewals_,
                                        .access = &*access_});
  }

  // ---- the cluster ----
  void storage_class(const std::string& name, bool is_default = false) {
    bed_->request(
        "POST", "/apis/storage.k8s.io/v1/storageclasses",
        {{"metadata",
          {{"name", name},
           {"annotations",
            {{"storageclass.kubernetes.io/is-default-class", is_default ? "true" : "false"}}}}},
         {"provisioner", "csi.example.com"},
         {"volumeBindingMode", "Immediate"}});
  }
  void config(const json& data) { config_map("vm-import-controller-config", data); }
  void config_map(const std::string& name, const json& data) {
    bed_->try_request("DELETE", path("configmaps", ours_, name));
    bed_->request("POST", path("configmaps", ours_),
                  {{"metadata", {{"name", name}}}, {"data", data}});
  }
  void secret(const std::string& ns, const std::string& name) {
    bed_->request(
        "POST", path("secrets", ns),
        {{"metadata", {{"name", name}}},
         {"stringData",
          {{"vmware", "apiUrl: https://vcenter.invalid/sdk\nusername: u\npassword: p\n"}}}});
  }
  static std::string path(const std::string& plural, const std::string& ns,
                          const std::string& name = "") {
    return "/api/v1/namespaces/" + ns + "/" + plural + (name.empty() ? "" : "/" + name);
  }
  std::string imports_path(const std::string& name = "") const {
    return "/apis/v2v.kubevirt.io/v1beta1/namespaces/" + ns_ + "/virtualmachineimports" +
           (name.empty() ? "" : "/" + name);
  }
  std::string vms_path(const std::string& name = "") const {
    return "/apis/kubevirt.io/v1/namespaces/" + ns_ + "/virtualmachines" +
           (name.empty() ? "" : "/" + name);
  }
  void remove(const std::string& where) {
    bed_->request("DELETE", where);
    EXPECT_TRUE(kube::eventually([&] { return bed_->try_request("GET", where).first == 404; }));
  }

  // ---- the import ----
  json import_spec() const {
    return {{"providerCredentialsSecret", {{"name", "vcenter"}}},
            {"targetVmName", "web"},
            {"source",
             {{"vmware",
               {{"vm", {{"id", "42301f3a-0000-4000-8000-00505601a2b3"}}},
                {"mappings",
                 {{"networkMappings",
                   {{{"source", {{"id", "network-7"}}},
                     {"target", {{"name", "pod"}}},
                     {"type", "pod"}}}},
                  {"storageMappings",
                   {{{"source", {{"id", "datastore-1"}}}, {"target", {{"name", class_}}}}}}}}}}}}};
  }
  void create_import(const json& patch = json::object(), const std::string& name = "web") {
    json spec = import_spec();
    spec.merge_patch(patch);
    uid_ = bed_->request("POST", imports_path(),
                         {{"apiVersion", "v2v.kubevirt.io/v1beta1"},
                          {"kind", "VirtualMachineImport"},
                          {"metadata", {{"name", name}}},
                          {"spec", spec}})["metadata"]["uid"]
               .get<std::string>();
    name_ = name;
  }
  std::string claim(const char* disk) const { return uid_ + "-" + disk; }
  json import() const { return bed_->request("GET", imports_path(name_)); }
  // "status/reason: message"; empty: there is none.
  std::string condition(const std::string& type) const {
    const json object = import();
    for (const json& one : object.value("/status/conditions"_json_pointer, json::array())) {
      if (one["type"] != type) continue;
      return one["status"].get<std::string>() + "/" + one.value("reason", "") + ": " +
             one.value("message", "");
    }
    return "";
  }
  std::string all_conditions() const {
    return import().value("/status/conditions"_json_pointer, json::array()).dump(1);
  }

  // Passes, with the nodes doing their part, until a condition of the import says all that.
  ::testing::AssertionResult comes_to(const std::string& type,
                                      const std::vector<std::string>& texts) {
    std::string last;
    const bool came = kube::eventually(
        [&] {
          pass();
          const std::string now = condition(type);
          for (const std::string& text : texts) {
            if (now.find(text) == std::string::npos) return false;
          }
          return true;
        },
        std::chrono::seconds(90));
    if (came) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure()
           << type << " is '" << condition(type) << "'; last error: " << last_error_ << "\n"
           << all_conditions();
  }
  ::testing::AssertionResult succeeds() {
    return comes_to("Succeeded", {"True/VirtualMachineReady"});
  }

  void pass() {
    const auto outcome = reconciler_->reconcile({ns_, name_}, {});
    last_error_ = outcome ? "" : to_string(outcome.error());
    play_nodes();
  }
  void play_nodes() {
    const json claims = bed_->request("GET", path("persistentvolumeclaims", ns_));
    for (const json& item : claims["items"]) {
      if (!item["spec"].contains("volumeName")) provide(item);
    }
    const json pods = bed_->request("GET", path("pods", ns_));
    for (const json& pod : pods["items"]) {
      const std::string name = pod["metadata"]["name"];
      if (pod["metadata"].contains("deletionTimestamp")) {
        bed_->try_request("DELETE", path("pods", ns_, name), {{"gracePeriodSeconds", 0}});
      } else if (!pod["spec"].contains("nodeName")) {
        bed_->try_request(
            "POST", path("pods", ns_, name) + "/binding",
            {{"apiVersion", "v1"},
             {"kind", "Binding"},
             {"metadata", {{"name", name}}},
             {"target", {{"apiVersion", "v1"}, {"kind", "Node"}, {"name", "node-1"}}}});
      } else if (pod["status"].value("phase", "") != "Running") {
        bed_->try_request(
            "PATCH", path("pods", ns_, name) + "/status",
            {{"status",
              {{"phase", "Running"}, {"conditions", {{{"type", "Ready"}, {"status", "True"}}}}}}},
            "application/merge-patch+json");
      }
    }
  }
  void provide(const json& claim) {
    const std::string name = claim["metadata"]["name"];
    bed_->try_request(
        "POST", "/api/v1/persistentvolumes",
        {{"metadata", {{"name", "pv-" + claim["metadata"]["uid"].get<std::string>()}}},
         {"spec",
          {{"capacity", {{"storage", claim["spec"]["resources"]["requests"]["storage"]}}},
           {"accessModes", claim["spec"]["accessModes"]},
           {"volumeMode", claim["spec"]["volumeMode"]},
           {"storageClassName", claim["spec"].value("storageClassName", "")},
           {"persistentVolumeReclaimPolicy", "Retain"},
           {"claimRef", {{"namespace", ns_}, {"name", name}, {"uid", claim["metadata"]["uid"]}}},
           {"csi", {{"driver", "csi.example.com"}, {"volumeHandle", name}}}}}});
  }

  // ---- what the world shows ----
  std::map<std::string, json> events() const {  // of the import, by reason: the newest
    std::map<std::string, json> found;
    const json all = bed_->request("GET", path("events", ns_));
    for (const json& event : all["items"]) {
      if (event["involvedObject"].value("uid", "") == uid_) found[event["reason"]] = event;
    }
    return found;
  }
  std::size_t count(const std::string& plural) const {
    return bed_->request("GET", path(plural, ns_))["items"].size();
  }

  std::string ours_, class_, uid_, state_, last_error_;
  std::string name_ = "web";
  const Logger log_ =
      std::getenv("VMFERRY_LOG") != nullptr ? make_stderr_logger("bench") : Logger();
  const CurveKeys keys_ = CurveKeys::generate();
  Guarded<SourceOfOne> source_;
  ProviderPool providers_{
      [this](const ProviderCredentials&, const Logger&) -> Result<std::unique_ptr<Provider>> {
        return std::unique_ptr<Provider>(std::make_unique<ProviderOfOne>(source_));
      },
      log_};
  Guarded<std::map<JobId, Renewal>> renewals_;
  std::unique_ptr<Fleet> fleet_;
  std::optional<test::FakeAgent> agent_;
  std::optional<volumes::ClusterVolumes> volumes_;
  std::optional<access::SubjectAccessReviews> access_;
  std::optional<kube::EventRecorder> events_;
  std::optional<ImportReconciler> reconciler_;
};

}  // namespace vmferry::imports
