#include "coordinator/cluster/leadership.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <memory>

#include "coordinator/cluster/fenced_writer.h"
#include "coordinator/cluster/leader_label.h"
#include "coordinator/cluster/probes.h"
#include "coordinator/cluster/server_keys.h"
#include "tests/coordinator/embedded/store_support.h"
#include "tests/coordinator/imports/spoiled_store.h"

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

// An API server that is away is looked for again and again; one that never answers holds the
// thread.
TEST_F(LeadershipTest, TellsALookThatFailsFromOneThatHangs) {
  imports::SpoiledStore server(*store_);
  std::atomic<bool> away{false}, hangs{false};
  server.spoil = [&](std::string_view, const kube::ResourceType&, const std::string&) {
    while (hangs) system_.sleep(5ms, {});
    return away ? std::optional(Error(ErrorKind::Unavailable, "away")) : std::nullopt;
  };
  const auto until_later = [&](SteadyTime seen, const auto& now) {
    const auto patience = system_.steady() + 20s;
    while (now() <= seen && system_.steady() < patience) system_.sleep(5ms, {});
    return now() > seen;
  };
  make(kLease,
       kube::Object(json{{"metadata", {{"name", "lease"}, {"namespace", "n"}}},
                         {"spec", {{"holderIdentity", "b"}, {"leaseDurationSeconds", 3600}}}}));
  Leadership candidate(server, server, {"n", "lease"},
                       {.identity = "a", .lease = 3s, .renew = 2s, .retry = 20ms}, system_,
                       Logger());
  const auto last_try = [&] { return candidate.last_try(); };
  const auto last_look = [&] { return candidate.last_look(); };
  ASSERT_TRUE(until_later(SteadyTime{}, last_look));
  away = true;
  ASSERT_TRUE(until_later(last_try(), last_try));
  const SteadyTime look = last_look();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(until_later(last_try(), last_try)) << "goes on trying";
  EXPECT_EQ(last_look(), look) << "and reads nothing";
  hangs = true;
  system_.sleep(100ms, {});
  const SteadyTime stuck = last_try();
  system_.sleep(100ms, {});
  EXPECT_EQ(last_try(), stuck);
  hangs = away = false;
  EXPECT_TRUE(until_later(stuck, last_try));
}

TEST(ProbesTest, AnApiServerThatIsAwayIsNoReasonToBeStartedAgain) {
  const ElectionSettings settings;  // as they are by default
  const SteadyTime start{1h};
  const struct {
    const char* name;
    LeaseLooks looks;
    std::chrono::seconds now;
    const char* unhealthy;
    const char* unready;
  } cases[] = {
      {"just begun", {start, {}, {}, false}, 1s, "", "not read yet"},
      {"it works", {start, start + 599s, start + 599s, false}, 600s, "", ""},
      {"away for ten minutes", {start, start + 598s, start, false}, 600s, "", "API server is away"},
      {"a look hangs", {start, start + 10s, start + 8s, false}, 60s, "", "API server is away"},
      {"for minutes",
       {start, start + 10s, start + 8s, false},
       311s,
       "nobody has looked",
       "is away"},
      {"the first look hangs", {start, {}, {}, false}, 301s, "nobody has looked", "not read yet"},
      {"replaced", {start, start + 9s, start + 9s, true}, 10s, "", "not the leader any more"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto sick = unhealthy(c.looks, start + c.now, settings);
    EXPECT_EQ(sick.has_value(), *c.unhealthy != '\0');
    EXPECT_NE(sick.value_or("").find(c.unhealthy), std::string::npos) << c.name;
    const auto waits = unready(c.looks, start + c.now, settings);
    EXPECT_EQ(waits.has_value(), *c.unready != '\0');
    EXPECT_NE(waits.value_or("").find(c.unready), std::string::npos) << c.name;
  }
}

// The times that nobody has changed: a leader that is gone without a word is replaced after the
// lease's 15 seconds and a look, and the old one has stopped five seconds before.
TEST_F(LeadershipTest, WithTheDefaultTimesATakeoverTakesSeconds) {
  const ElectionSettings defaults;
  EXPECT_EQ(defaults.lease, 15s);
  EXPECT_EQ(defaults.renew, 10s);
  EXPECT_EQ(defaults.retry, 2s);
  imports::SpoiledStore server(*store_);
  std::atomic<bool> cut{false};
  server.spoil = [&](std::string_view, const kube::ResourceType&, const std::string&) {
    return cut ? std::optional(Error(ErrorKind::Unavailable, "cut off")) : std::nullopt;
  };
  ElectionSettings settings = defaults;
  settings.identity = "a";
  auto first = std::make_unique<Leadership>(server, server, kube::ObjectKey{"n", "lease"}, settings,
                                            system_, Logger());
  ASSERT_TRUE(leads_within(*first, 20s));
  settings.identity = "b";
  Leadership second(*store_, *store_, {"n", "lease"}, settings, system_, Logger());
  cut = true;
  const SteadyTime began = system_.steady();
  while (!first->lost().stop_requested() && system_.steady() < began + 20s) system_.sleep(20ms, {});
  EXPECT_TRUE(first->lost().stop_requested());
  EXPECT_FALSE(first->may_act());
  EXPECT_FALSE(second.may_act()) << "not before the first has stopped";
  first.reset();
  ASSERT_TRUE(leads_within(second, 40s));
  const auto took = system_.steady() - began;
  std::printf("a takeover with the default times took %.1f s\n",
              std::chrono::duration<double>(took).count());
  EXPECT_GT(took, 12s) << "what the lease holds, but for the age of the last renewal";
  EXPECT_LT(took, 30s);
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

  // As long as it is right, nothing is written; an edit, and a removal, are mended.
  const std::string version = find(kPublished)->resource_version();
  ASSERT_TRUE(publish_key(*store_, *store_, "n", made->public_key, {}));
  EXPECT_EQ(find(kPublished)->resource_version(), version);
  ASSERT_TRUE(patch(kPublished, R"({"data": {"public-key": "other"}})"));
  ASSERT_TRUE(publish_key(*store_, *store_, "n", made->public_key, {}));
  EXPECT_EQ(find(kPublished)->json()["data"]["public-key"], made->public_key);
  ASSERT_TRUE(store_->remove(kube::types::kConfigMap, {"n", kPublished},
                             kube::Propagation::Background, {}, {}));
  ASSERT_TRUE(publish_key(*store_, *store_, "n", made->public_key, {}));
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
