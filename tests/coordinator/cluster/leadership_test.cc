#include "coordinator/cluster/leadership.h"

#include <gtest/gtest.h>

#include "coordinator/cluster/fenced_writer.h"
#include "coordinator/cluster/leader_label.h"
#include "coordinator/cluster/server_keys.h"
#include "tests/coordinator/embedded/store_support.h"

namespace vmferry::cluster {
namespace {

using namespace std::chrono_literals;
using kube::types::kLease;
using nlohmann::json;

class LeadershipTest : public embedded::StoreFixture {
 protected:
  std::unique_ptr<Leadership> candidate(const std::string& identity) {
    return std::make_unique<Leadership>(
        *store_, *store_, kube::ObjectKey{"n", "lease"},
        ElectionSettings{.identity = identity, .lease = 3s, .renew = 2s, .retry = 50ms}, system_,
        Logger());
  }
  bool leads_within(Leadership& candidate, std::chrono::milliseconds time) {
    std::stop_source stop;
    const std::jthread timer([&](std::stop_token ended) {
      if (system_.sleep(time, ended)) stop.request_stop();
    });
    return candidate.wait_until_leading(stop.get_token());
  }
  std::string holder() {
    const auto lease = find("lease", kLease);
    return lease ? lease_record(*lease).holder : "none";
  }

  SystemClock system_;
};

TEST_F(LeadershipTest, OneLeadsAndItsEndLetsTheOtherIn) {
  auto first = candidate("a");
  ASSERT_TRUE(leads_within(*first, 20s));
  EXPECT_TRUE(first->may_act());
  auto second = candidate("b");
  EXPECT_FALSE(leads_within(*second, 300ms));
  EXPECT_FALSE(second->may_act());
  second.reset();
  EXPECT_EQ(holder(), "a") << "a candidate that never led gives nothing up";
  first.reset();
  EXPECT_EQ(holder(), "");
  const auto third = candidate("c");
  ASSERT_TRUE(leads_within(*third, 20s));
  EXPECT_EQ(third->term(), 2);
}

TEST_F(LeadershipTest, WhoLosesTheLeaseMayNotWrite) {
  const auto leader = candidate("a");
  ASSERT_TRUE(leads_within(*leader, 20s));
  FencedWriter writer(*store_, [&] { return leader->may_act(); });
  ASSERT_TRUE(writer.create(kube::types::kConfigMap, config_map("before"), {}, {}));
  ASSERT_TRUE(store_->patch(kLease, {"n", "lease"}, {{"spec", {{"holderIdentity", "b"}}}}, {}, {}));
  const auto until = system_.steady() + 20s;
  while (!leader->lost().stop_requested() && system_.steady() < until) system_.sleep(10ms, {});
  EXPECT_FALSE(leader->may_act());
  const auto refused = writer.create(kube::types::kConfigMap, config_map("after"), {}, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::Canceled);
  EXPECT_FALSE(writer.patch(kube::types::kConfigMap, {"n", "before"}, json::object(), {}, {}));
  EXPECT_FALSE(writer.patch_status(kube::types::kConfigMap, {"n", "before"}, json::object(), {}));
  EXPECT_FALSE(writer.remove(kube::types::kConfigMap, {"n", "before"},
                             kube::Propagation::Background, {}, {}));
  EXPECT_TRUE(find("before"));
}

TEST_F(LeadershipTest, ServerKeysAreMadeOnceAndPublished) {
  const auto made = ensure_server_keys(*store_, *store_, "n", {});
  ASSERT_TRUE(made) << to_string(made.error());
  const auto again = ensure_server_keys(*store_, *store_, "n", {});
  ASSERT_TRUE(again);
  EXPECT_EQ(made->public_key, again->public_key);
  EXPECT_EQ(made->secret_key, again->secret_key);
  EXPECT_EQ(find(kPublished)->json()["data"]["public-key"], made->public_key);

  // Somebody's edit is mended; a key that is none is told, not replaced.
  ASSERT_TRUE(patch(kPublished, R"({"data": {"public-key": "other"}})"));
  ASSERT_TRUE(ensure_server_keys(*store_, *store_, "n", {}));
  EXPECT_EQ(find(kPublished)->json()["data"]["public-key"], made->public_key);
  ASSERT_TRUE(patch(kKeySecret, R"({"data": {"secret-key": "bm8="}})", kube::types::kSecret));
  const auto broken = ensure_server_keys(*store_, *store_, "n", {});
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().kind(), ErrorKind::InvalidArgument);
  EXPECT_NE(broken.error().message().find("vmferry-coordinator-keys"), std::string::npos);
}

TEST_F(LeadershipTest, OnlyTheLeadersPodHasTheLabel) {
  for (const char* name : {"a", "b", "c"}) {
    make(kube::types::kPod, kube::Object(json{{"metadata", {{"name", name}, {"namespace", "n"}}},
                                              {"spec", {{"containers", json::array()}}}}));
  }
  const auto labelled = [&] {
    std::string names;
    const auto pods =
        store_->list(kube::types::kPod, {.ns = "n", .label_selector = kLeaderLabel}, {});
    for (const kube::Object& pod : pods->items) names += pod.name();
    return names;
  };
  EXPECT_TRUE(*point_service_at(*store_, *store_, "n", "a", {}));
  EXPECT_EQ(labelled(), "a");
  EXPECT_TRUE(*point_service_at(*store_, *store_, "n", "b", {}));
  EXPECT_EQ(labelled(), "b");
  EXPECT_TRUE(*point_service_at(*store_, *store_, "n", "b", {}));
  EXPECT_EQ(labelled(), "b");
  EXPECT_FALSE(*point_service_at(*store_, *store_, "n", "not-a-pod", {})) << "runs elsewhere";
  EXPECT_EQ(labelled(), "");
}

}  // namespace
}  // namespace vmferry::cluster
