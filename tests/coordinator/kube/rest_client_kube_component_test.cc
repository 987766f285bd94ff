#include <gtest/gtest.h>

#include "coordinator/kube/rest/cluster.h"
#include "tests/support/kube_fixture.h"

namespace vmferry::kube {
namespace {

using nlohmann::json;
using testing::KubeBed;
using types::kConfigMap;

class RestClientTest : public ::testing::Test {
 protected:
  void SetUp() override {
    VMFERRY_NEED_KUBE();
    bed_ = KubeBed::shared();
    ASSERT_NE(bed_, nullptr);
    Result<std::unique_ptr<Cluster>> cluster =
        Cluster::open({.kubeconfig = bed_->kubeconfig(), .context = "", .api = {}}, clock_, {});
    ASSERT_TRUE(cluster) << to_string(cluster.error());
    cluster_ = *std::move(cluster);
    ns_ = bed_->make_namespace();
  }
  Object config_map(const std::string& name) const {
    return Object(json{{"metadata", {{"name", name}, {"namespace", ns_}}}, {"data", {{"a", "1"}}}});
  }
  Object make(const std::string& name) {
    Result<Object> made = cluster_->writer().create(kConfigMap, config_map(name), {}, {});
    EXPECT_TRUE(made) << to_string(made.error());
    return made ? *made : Object();
  }

  SystemClock clock_;
  KubeBed* bed_ = nullptr;
  std::unique_ptr<Cluster> cluster_;
  std::string ns_;
};

TEST_F(RestClientTest, CreatesReadsPatchesAndRemoves) {
  const Object made = make("a");
  EXPECT_EQ(made.kind(), "ConfigMap");
  EXPECT_FALSE(made.json()["metadata"].contains("managedFields"));
  const auto read = cluster_->reader().get(kConfigMap, {ns_, "a"}, {});
  ASSERT_TRUE(read);
  EXPECT_EQ(*read, made);
  const auto patched =
      cluster_->writer().patch(kConfigMap, {ns_, "a"}, {{"data", {{"a", "2"}}}}, {}, {});
  ASSERT_TRUE(patched) << to_string(patched.error());
  EXPECT_EQ(patched->json()["data"]["a"], "2");
  EXPECT_TRUE(
      cluster_->writer().remove(kConfigMap, {ns_, "a"}, Propagation::Background, {}, {}).ok());
  EXPECT_EQ(cluster_->reader().get(kConfigMap, {ns_, "a"}, {}).error().kind(), ErrorKind::NotFound);
}

TEST_F(RestClientTest, ListsInPages) {
  for (int i = 0; i < 7; ++i) make("c" + std::to_string(i));
  cluster_->client().set_page_size(2);
  const auto list = cluster_->reader().list(kConfigMap, {.ns = ns_, .label_selector = ""}, {});
  ASSERT_TRUE(list) << to_string(list.error());
  EXPECT_EQ(list->items.size(), 8U);  // with the cluster's certificate authority
  EXPECT_FALSE(list->resource_version.empty());
}

TEST_F(RestClientTest, WatchesOverARestartOfTheServer) {
  const auto list = cluster_->reader().list(kConfigMap, {.ns = ns_, .label_selector = ""}, {});
  ASSERT_TRUE(list);
  auto watch = cluster_->reader().watch(kConfigMap, {.ns = ns_, .label_selector = ""},
                                        list->resource_version, {});
  ASSERT_TRUE(watch) << to_string(watch.error());
  const auto next_name = [&]() -> std::string {
    while (true) {
      const auto event = (*watch)->next(std::chrono::seconds(30), {});
      if (!event) return to_string(event.error());
      if (!*event) return "nothing";
      if ((*event)->type != EventType::Bookmark) return (*event)->object.name();
    }
  };
  make("before");
  EXPECT_EQ(next_name(), "before");
  bed_->restart_apiserver();
  make("after");
  EXPECT_EQ(next_name(), "after");
}

}  // namespace
}  // namespace vmferry::kube
