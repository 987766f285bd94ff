#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include "coordinator/kube/rest/cluster.h"
#include "tests/support/kube_fixture.h"
#include "tests/support/places.h"

namespace vmferry::kube {

// The shared control plane with our own CRDs and those of the kinds that imports meet.
inline vmferry::testing::KubeBed* bed_with_crds() {
  static vmferry::testing::KubeBed* const bed = [] {
    vmferry::testing::KubeBed* started = vmferry::testing::KubeBed::shared();
    if (started != nullptr) {
      started->apply(testing::source_dir() + "/deploy/daemonset/crds");
      started->apply(testing::source_dir() + "/tests/data/crds");
    }
    return started;
  }();
  return bed;
}

inline std::unique_ptr<Cluster> open_cluster(const std::string& kubeconfig, const Clock& clock) {
  auto cluster =
      Cluster::open({.kubeconfig = kubeconfig, .context = "", .api = {}}, clock, Logger());
  EXPECT_TRUE(cluster.ok()) << to_string(cluster.error());
  return cluster ? *std::move(cluster) : nullptr;
}

// Whether that comes true, on a machine that may be busy.
template <typename Condition>
bool eventually(Condition condition, std::chrono::seconds patience = std::chrono::seconds(60)) {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return true;
}

// A test on the shared control plane, as administrator, in a namespace of its own.
class KubeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    VMFERRY_NEED_KUBE();
    bed_ = bed_with_crds();
    ASSERT_NE(bed_, nullptr);
    cluster_ = open_cluster(bed_->kubeconfig(), clock_);
    ASSERT_NE(cluster_, nullptr);
    ns_ = bed_->make_namespace();
  }
  Object config_map(const std::string& name) const {
    return Object(
        nlohmann::json{{"metadata", {{"name", name}, {"namespace", ns_}}}, {"data", {{"a", "1"}}}});
  }
  Object make(const ResourceType& type, const Object& object) {
    Result<Object> made = cluster_->writer().create(type, object, {}, {});
    EXPECT_TRUE(made.ok()) << to_string(made.error());
    return made ? *made : Object();
  }

  SystemClock clock_;
  vmferry::testing::KubeBed* bed_ = nullptr;
  std::unique_ptr<Cluster> cluster_;
  std::string ns_;
};

}  // namespace vmferry::kube
