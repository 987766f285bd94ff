#include "coordinator/embedded/expired_events.h"

#include "tests/coordinator/embedded/store_support.h"

namespace vmferry::embedded {
namespace {

class ExpiredEventsTest : public StoreFixture {
 protected:
  void make_event(const std::string& name, const std::string& last) {
    nlohmann::json event{{"metadata", {{"name", name}, {"namespace", "n"}}},
                         {"involvedObject", {{"kind", "ConfigMap"}, {"name", "x"}}},
                         {"reason", "Tested"}};
    if (!last.empty()) event["lastTimestamp"] = last;
    make(kube::types::kEvent, kube::Object(event));
  }
  std::set<std::string> names() {
    std::set<std::string> found;
    const auto list = store_->list(kube::types::kEvent, {}, {});
    EXPECT_TRUE(list.ok());
    for (const kube::Object& event : list->items) found.insert(event.name());
    return found;
  }
};

TEST_F(ExpiredEventsTest, AnEventGoesAnHourAfterItHappenedLast) {
  const WallTime now = clock_.wall();
  make_event("old", to_rfc3339(now - std::chrono::minutes(61)));
  make_event("young", to_rfc3339(now - std::chrono::minutes(59)));
  make_event("without-time", "");
  make_event("odd-time", "yesterday");
  const auto removed = remove_expired_events(*store_, *store_, now, kEventLife, {});
  ASSERT_TRUE(removed.ok()) << to_string(removed.error());
  EXPECT_EQ(*removed, 1u);
  EXPECT_EQ(names(), (std::set<std::string>{"young", "without-time", "odd-time"}));

  // Those without a time of their own count from when they were written.
  const auto later =
      remove_expired_events(*store_, *store_, now + std::chrono::hours(2), kEventLife, {});
  ASSERT_TRUE(later.ok());
  EXPECT_EQ(*later, 3u);
  EXPECT_TRUE(names().empty());
}

TEST_F(ExpiredEventsTest, OtherObjectsStay) {
  make(kube::types::kConfigMap, config_map("kept"));
  const auto removed = remove_expired_events(
      *store_, *store_, clock_.wall() + std::chrono::hours(100), kEventLife, {});
  ASSERT_TRUE(removed.ok());
  EXPECT_EQ(*removed, 0u);
  EXPECT_TRUE(store_->get(kube::types::kConfigMap, {"n", "kept"}, {}).ok());
}

}  // namespace
}  // namespace vmferry::embedded
