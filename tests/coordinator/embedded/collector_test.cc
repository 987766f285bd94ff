#include "tests/coordinator/embedded/store_support.h"

namespace vmferry::embedded {
namespace {

using kube::Propagation;
using kube::types::kConfigMap;

class CollectorTest : public StoreFixture {};

TEST_F(CollectorTest, FinalizersHoldAnObject) {
  make(kConfigMap, config_map("a", {{"finalizers", {"x.io/f", "x.io/g"}}}));
  ASSERT_TRUE(remove("a"));
  ASSERT_TRUE(find("a"));
  EXPECT_TRUE(find("a")->deleting());
  ASSERT_TRUE(remove("a"));  // again: as it was
  EXPECT_EQ(patch("a", R"({"metadata": {"finalizers": ["x.io/f", "x.io/h"]}})").error().kind(),
            ErrorKind::InvalidArgument);
  ASSERT_TRUE(patch("a", R"({"metadata": {"finalizers": ["x.io/f"]}})"));
  EXPECT_TRUE(find("a"));
  ASSERT_TRUE(patch("a", R"({"metadata": {"finalizers": []}})"));
  EXPECT_FALSE(find("a"));
}

TEST_F(CollectorTest, BackgroundTakesWhatNobodyElseOwns) {
  const kube::Object a = make(kConfigMap, config_map("a"));
  const kube::Object b = make(kConfigMap, config_map("b"));
  const kube::Object child = make_owned("child", {a});
  make_owned("grandchild", {child});
  make_owned("shared", {a, b});
  make_owned("held", {a}, false, {{"finalizers", {"x.io/f"}}});
  ASSERT_TRUE(remove("a"));
  EXPECT_FALSE(find("child"));
  EXPECT_FALSE(find("grandchild"));
  ASSERT_TRUE(find("shared"));
  ASSERT_EQ(find("shared")->owners().size(), 1U);
  EXPECT_EQ(find("shared")->owners()[0].uid, b.uid());
  ASSERT_TRUE(find("held"));
  EXPECT_TRUE(find("held")->deleting());
  ASSERT_TRUE(remove("b"));
  EXPECT_FALSE(find("shared"));
}

TEST_F(CollectorTest, OrphanKeepsTheDependents) {
  const kube::Object a = make(kConfigMap, config_map("a"));
  make_owned("child", {a});
  ASSERT_TRUE(remove("a", Propagation::Orphan));
  EXPECT_FALSE(find("a"));
  ASSERT_TRUE(find("child"));
  EXPECT_TRUE(find("child")->owners().empty());
}

TEST_F(CollectorTest, ForegroundWaitsForBlockingDependents) {
  const kube::Object a = make(kConfigMap, config_map("a"));
  const kube::Object b = make(kConfigMap, config_map("b"));
  make_owned("blocker", {a}, true, {{"finalizers", {"x.io/f"}}});
  make_owned("plain", {a});
  make_owned("shared", {a, b}, true);
  ASSERT_TRUE(remove("a", Propagation::Foreground));
  ASSERT_TRUE(find("a"));
  EXPECT_TRUE(find("a")->deleting());
  EXPECT_TRUE(find("a")->has_finalizer("foregroundDeletion"));
  EXPECT_FALSE(find("plain"));
  ASSERT_TRUE(find("shared"));
  EXPECT_EQ(find("shared")->owners().size(), 1U);
  ASSERT_TRUE(find("blocker"));
  EXPECT_TRUE(find("blocker")->deleting());
  ASSERT_TRUE(patch("blocker", R"({"metadata": {"finalizers": null}})"));
  EXPECT_FALSE(find("blocker"));
  EXPECT_FALSE(find("a"));
}

TEST_F(CollectorTest, ForegroundWithoutDependentsIsImmediate) {
  make(kConfigMap, config_map("a"));
  ASSERT_TRUE(remove("a", Propagation::Foreground));
  EXPECT_FALSE(find("a"));
}

TEST_F(CollectorTest, CyclesOfOwnersEnd) {
  for (const Propagation propagation : {Propagation::Background, Propagation::Foreground}) {
    const kube::Object a = make(kConfigMap, config_map("a"));
    const kube::Object b = make_owned("b", {a}, true);
    ASSERT_TRUE(patch("a", (R"({"metadata": {"ownerReferences": [{"apiVersion": "v1",
        "kind": "ConfigMap", "name": "b", "blockOwnerDeletion": true, "uid": ")" +
                            b.uid() + R"("}]}})")
                               .c_str()));
    ASSERT_TRUE(remove("a", propagation));
    if (propagation == Propagation::Background) {
      EXPECT_FALSE(find("a"));
      EXPECT_FALSE(find("b"));
    } else {
      // Each blocks the other, as on a cluster, until a person breaks the circle.
      ASSERT_TRUE(patch("b", R"({"metadata": {"ownerReferences": null}})"));
      ASSERT_TRUE(patch("b", R"({"metadata": {"finalizers": null}})"));
      EXPECT_FALSE(find("b"));
    }
  }
}

TEST_F(CollectorTest, DeepChainsDoNotRecurse) {
  kube::Object last = make(kConfigMap, config_map("c0"));
  for (int i = 1; i <= 300; ++i) last = make_owned("c" + std::to_string(i), {last});
  ASSERT_TRUE(remove("c0"));
  EXPECT_TRUE(store_->list(kConfigMap, {}, {})->items.empty());
}

TEST_F(CollectorTest, AnObjectOfAVanishedOwnerIsCollected) {
  const kube::Object a = make(kConfigMap, config_map("a"));
  ASSERT_TRUE(remove("a"));
  make_owned("late", {a});
  EXPECT_FALSE(find("late"));
}

}  // namespace
}  // namespace vmferry::embedded
