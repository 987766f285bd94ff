#include <thread>

#include "tests/coordinator/embedded/store_support.h"

namespace vmferry::embedded {
namespace {

using kube::EventType;
using kube::types::kConfigMap;
using std::chrono::milliseconds;
using std::chrono::seconds;

class WatchTest : public StoreFixture {
 protected:
  std::unique_ptr<kube::Watch> watch(const std::string& version,
                                     const kube::ListOptions& options = {}) {
    auto watch = store_->watch(kConfigMap, options, version, {});
    EXPECT_TRUE(watch);
    return *std::move(watch);
  }
  // "+a ~a -a": what comes until it is quiet.
  static std::string drain(kube::Watch& watch) {
    std::string seen;
    while (true) {
      auto event = watch.next(milliseconds(0), {});
      if (!event) return seen + "!" + std::string(to_string(event.error().kind()));
      if (!*event) return seen;
      const char* sign = (*event)->type == EventType::Added      ? "+"
                         : (*event)->type == EventType::Modified ? "~"
                                                                 : "-";
      seen += (seen.empty() ? "" : " ") + (sign + (*event)->object.name());
    }
  }
};

TEST_F(WatchTest, ContinuesAList) {
  make(kConfigMap, config_map("a"));
  const auto list = store_->list(kConfigMap, {}, {});
  const auto events = watch(list->resource_version);
  EXPECT_EQ(drain(*events), "");
  make(kConfigMap, config_map("b"));
  make(kube::types::kSecret,
       kube::Object(nlohmann::json{{"metadata", {{"name", "s"}, {"namespace", "n"}}}}));
  ASSERT_TRUE(patch("a", R"({"data": {"x": "y"}})"));
  ASSERT_TRUE(remove("a"));
  EXPECT_EQ(drain(*events), "+b ~a -a");
}

TEST_F(WatchTest, BeginsWithTheStateWhenNoVersionIsGiven) {
  make(kConfigMap, config_map("a"));
  make(kConfigMap, config_map("b", {{"namespace", "m"}}));
  EXPECT_EQ(drain(*watch("")), "+b +a");
  EXPECT_EQ(drain(*watch("0", {.ns = "m", .label_selector = ""})), "+b");
}

TEST_F(WatchTest, FollowsTheSelector) {
  const auto events = watch("1", {.ns = "", .label_selector = "on"});
  make(kConfigMap, config_map("a"));
  ASSERT_TRUE(patch("a", R"({"metadata": {"labels": {"on": ""}}})"));
  ASSERT_TRUE(patch("a", R"({"data": {"x": "y"}})"));
  ASSERT_TRUE(patch("a", R"({"metadata": {"labels": {"on": null}}})"));
  ASSERT_TRUE(patch("a", R"({"data": {"x": "z"}})"));
  ASSERT_TRUE(remove("a"));
  EXPECT_EQ(drain(*events), "+a ~a -a");
}

TEST_F(WatchTest, DeletedCarriesTheLastStateAndANewVersion) {
  const kube::Object made = make(kConfigMap, config_map("a"));
  const auto events = watch(made.resource_version());
  ASSERT_TRUE(remove("a"));
  const auto event = events->next(seconds(5), {});
  ASSERT_TRUE(event && *event);
  EXPECT_EQ((*event)->type, EventType::Deleted);
  EXPECT_EQ((*event)->object.json()["data"], made.json()["data"]);
  EXPECT_GT(std::stoll((*event)->object.resource_version()), std::stoll(made.resource_version()));
}

TEST_F(WatchTest, AVersionOfAnotherStoreIsAborted) {
  make(kConfigMap, config_map("a"));
  EXPECT_EQ(drain(*watch("99999")), "!Aborted");
  EXPECT_FALSE(store_->watch(kConfigMap, {}, "abc", {}));
}

TEST_F(WatchTest, ATrimmedVersionIsAborted) {
  make(kConfigMap, config_map("a"));
  const auto old = watch("1");
  // Each is one change; a dry run counts none.
  ASSERT_EQ(::system(("sqlite3 " + dir_.path("store.db") +
                      " \"UPDATE sqlite_sequence SET seq = seq + 10001 WHERE name='events'\"")
                         .c_str()),
            0)
      << "needs sqlite3";
  make(kConfigMap, config_map("b"));
  EXPECT_EQ(drain(*old), "!Aborted");
}

TEST_F(WatchTest, WakesForWritesOfThisAndOtherStores) {
  const auto events = watch("1");
  for (Store* writer : {store_.get(), open().release()}) {
    const std::unique_ptr<Store> owner(writer == store_.get() ? nullptr : writer);
    std::jthread thread([&] {
      std::this_thread::sleep_for(milliseconds(30));
      kube::Object object = config_map(owner ? "theirs" : "ours");
      EXPECT_TRUE(writer->create(kConfigMap, object, {}, {}));
    });
    const auto event = events->next(seconds(10), {});
    ASSERT_TRUE(event && *event);
    EXPECT_EQ((*event)->object.name(), owner ? "theirs" : "ours");
  }
}

TEST_F(WatchTest, StopsWhenAsked) {
  const auto events = watch("1");
  std::stop_source stop;
  std::jthread thread([&] {
    std::this_thread::sleep_for(milliseconds(20));
    stop.request_stop();
  });
  EXPECT_EQ(events->next(seconds(30), stop.get_token()).error().kind(), ErrorKind::Canceled);
}

TEST_F(WatchTest, OutlivesItsStore) {
  const auto events = watch("1");
  make(kConfigMap, config_map("a"));
  store_.reset();
  EXPECT_EQ(drain(*events), "+a");
}

}  // namespace
}  // namespace vmferry::embedded
