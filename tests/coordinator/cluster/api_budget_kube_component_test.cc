#include <algorithm>
#include <atomic>
#include <cstdio>

#include "coordinator/cluster/caches.h"
#include "coordinator/kube/controller.h"
#include "tests/coordinator/imports/cluster_bench.h"

// What imports that wait cost the API server: counted at the client that the coordinator has for
// all of it, with its caches, its queue and its workers, on the real API server.
namespace vmferry::imports {
namespace {

using namespace std::chrono_literals;

constexpr int kImports = 50;
constexpr double kMostPerSecond = 3;  // of the 50 that the client allows itself

class ApiBudgetTest : public ClusterBench {
 protected:
  void SetUp() override {
    ClusterBench::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    agent_.reset();  // nobody copies: disks stay queued
    counted_ = kube::open_cluster(bed_->kubeconfig(), clock_);
    caches_ = std::make_unique<cluster::Caches>(
        counted_->reader(), counted_->writer(),
        cluster::Caches::Scope{.own = ours_, .imports = ns_},
        cluster::Caches::Handlers{
            .on_import = [this](const kube::ObjectKey& key) { queue_.add(key.to_string()); },
            .on_change = [](const std::string&) {}},
        clock_, log_);
    ASSERT_TRUE(caches_->wait_until_synced({}).ok());
    volumes::ClusterVolumes::Settings settings;
    settings.holder.image = "vmferry:test";
    volumes_.emplace(caches_->reader(), counted_->reader(), caches_->writer(), settings, clock_);
    access_.emplace(counted_->writer(), clock_);
    events_.emplace(counted_->reader(), counted_->writer(), clock_, log_);
    reconciler_.emplace(ReconcilerParts{.reader = caches_->reader(),
                                        .writer = caches_->writer(),
                                        .volumes = *volumes_,
                                        .fleet = *fleet_,
                                        .providers = providers_,
                                        .events = *events_,
                                        .clock = clock_,
                                        .log = log_,
                                        .settings = {.embedded = false, .config_namespace = ours_},
                                        .renewals = renewals_,
                                        .access = &*access_});
    controller_ = std::make_unique<kube::Controller>(
        queue_,
        [this](const kube::ObjectKey& key, std::stop_token stop) {
          ++passes_;
          return reconciler_->reconcile(key, stop);
        },
        4, log_);
  }
  void TearDown() override {
    controller_.reset();
    caches_.reset();
    ClusterBench::TearDown();
  }
  void adjust(Fleet::Options& options) override {
    options.changed = [this](const std::string& key) { queue_.add(key); };
  }

  void create_imports() {
    for (int i = 0; i < kImports; ++i) {
      const std::string name = fmt::format("web-{:02}", i);
      create_import({{"targetVmName", name}}, name);
    }
  }
  // How many disks there are in each phase.
  std::map<std::string, int> disks() const {
    std::map<std::string, int> phases;
    const json all = bed_->request("GET", imports_path());
    for (const json& item : all["items"]) {
      for (const json& disk : item.value("/status/disks"_json_pointer, json::array())) {
        ++phases[disk.value("phase", "")];
      }
    }
    return phases;
  }
  std::uint64_t requests() const {
    std::uint64_t sum = 0;
    for (const auto& [status, count] : counted_->api().answers()) sum += count;
    return sum;
  }
  double requests_per_second(std::chrono::seconds window) {
    const std::uint64_t before = requests();
    const int passes = passes_;
    std::this_thread::sleep_for(window);
    const double rate =
        static_cast<double>(requests() - before) / static_cast<double>(window.count());
    std::printf("%d imports wait: %.2f requests/s, %.1f passes/s\n", kImports, rate,
                static_cast<double>(passes_ - passes) / static_cast<double>(window.count()));
    return rate;
  }
  // Until it has become quiet, for at most two minutes; a measurement of each ten seconds.
  double settled_rate() {
    double rate = requests_per_second(10s);
    for (int i = 0; i < 11 && rate >= kMostPerSecond; ++i) rate = requests_per_second(10s);
    return rate;
  }

  std::unique_ptr<kube::Cluster> counted_;
  kube::WorkQueue queue_{Backoff{.first = 500ms, .cap = 30s}};
  std::unique_ptr<cluster::Caches> caches_;
  std::unique_ptr<kube::Controller> controller_;
  std::atomic<int> passes_{0};
};

TEST_F(ApiBudgetTest, QueuedDisksCostNextToNothingAndGoOnWhenTheyCan) {
  create_imports();
  const std::size_t all = kImports * source_.lock()->vm.disks.size();
  ASSERT_TRUE(kube::eventually([&] { return count("pods") == all; }, 180s)) << count("pods");
  EXPECT_LT(settled_rate(), kMostPerSecond) << "while holders wait for a node";

  ASSERT_TRUE(kube::eventually(
      [&] {
        play_nodes();
        return disks()["Queued"] == static_cast<int>(all);
      },
      180s))
      << json(disks()).dump();
  EXPECT_LT(settled_rate(), kMostPerSecond) << "while disks wait for an agent";

  agent_.emplace(agent_options());
  EXPECT_TRUE(kube::eventually(
      [&] {
        play_nodes();
        return disks()["Done"] == static_cast<int>(all);
      },
      240s))
      << json(disks()).dump();
}

class CachesTest : public ApiBudgetTest {};

TEST_F(CachesTest, ADetachedVolumeIsToldToItsImport) {
  controller_.reset();
  bed_->request("POST", path("persistentvolumeclaims", ns_),
                {{"metadata",
                  {{"name", "claim"},
                   {"labels", {{std::string(api::kImportUid), "u"}}},
                   {"ownerReferences",
                    {{{"apiVersion", "v1"},
                      {"kind", "VirtualMachineImport"},
                      {"name", "of-the-claim"},
                      {"uid", "u"}}}}}},
                 {"spec",
                  {{"accessModes", {"ReadWriteOnce"}},
                   {"volumeName", "pv-" + ns_},
                   {"storageClassName", class_},
                   {"resources", {{"requests", {{"storage", "1Gi"}}}}}}}});
  const std::string attachments = "/apis/storage.k8s.io/v1/volumeattachments";
  bed_->request("POST", attachments,
                {{"metadata", {{"name", "csi-" + ns_}}},
                 {"spec",
                  {{"attacher", "csi.example.com"},
                   {"nodeName", "node-1"},
                   {"source", {{"persistentVolumeName", "pv-" + ns_}}}}}});
  const auto seen = [&] {
    const auto attached = caches_->reader().list(kube::types::kVolumeAttachment, {}, {});
    return attached && std::ranges::any_of(attached->items, [&](const kube::Object& item) {
             return item.name() == "csi-" + ns_;
           });
  };
  ASSERT_TRUE(kube::eventually(seen));
  while (queue_.size() != 0) {  // what the claim itself has told
    std::stop_source soon;
    queue_.done(*queue_.get(soon.get_token()));
  }
  bed_->request("DELETE", attachments + "/csi-" + ns_);
  ASSERT_TRUE(kube::eventually([&] { return queue_.size() != 0; }));
  EXPECT_EQ(*queue_.get({}), ns_ + "/of-the-claim");
}

}  // namespace
}  // namespace vmferry::imports
