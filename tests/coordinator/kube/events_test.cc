#include "coordinator/kube/events.h"

#include "tests/coordinator/embedded/store_support.h"

namespace vmferry::kube {
namespace {

class EventsTest : public embedded::StoreFixture {
 protected:
  std::vector<Object> recorded(const std::vector<std::string>& messages) {
    const Logger log;
    EventRecorder recorder(*store_, *store_, clock_, log);
    const Object about = make(types::kConfigMap, config_map("a"));
    for (const std::string& message : messages) {
      recorder.record(about, EventSeverity::Warning, "Reason", message, {});
    }
    const auto events = store_->list(types::kEvent, {}, {});
    EXPECT_TRUE(events);
    return events->items;
  }
};

TEST_F(EventsTest, TheSameMessageAgainIsCounted) {
  const auto events = recorded({"m", "m", "n", "m"});
  ASSERT_EQ(events.size(), 2u);
  const auto count_of = [&](const char* message) {
    for (const Object& event : events) {
      if (event.json()["message"] == message) return event.json()["count"].get<int>();
    }
    return 0;
  };
  EXPECT_EQ(count_of("m"), 3);
  EXPECT_EQ(count_of("n"), 1);
}

// The API takes 1024 bytes: what is cut says so, and no character is cut in two.
TEST_F(EventsTest, ALongMessageIsCutWhereACharacterEnds) {
  std::string umlauts;
  for (int i = 0; i < 600; ++i) umlauts += "\xc3\xa4";
  for (const std::string& start : {std::string(), std::string("x")}) {
    const std::string fits = std::string(1024 - start.size(), 'a');
    const auto events = recorded({start + umlauts, start + fits});
    for (const Object& event : events) {
      const std::string text = event.json()["message"];
      EXPECT_LE(text.size(), 1024u);
      if (text == start + fits) continue;
      ASSERT_TRUE(text.ends_with("\xc3\xa4...")) << text;
      EXPECT_GE(text.size(), 1022u);
    }
    ASSERT_TRUE(store_->remove(types::kConfigMap, {"n", "a"}, Propagation::Background, {}, {}));
    for (const Object& event : events) {
      ASSERT_TRUE(store_->remove(types::kEvent, event.key(), Propagation::Background, {}, {}));
    }
  }
}

// Two that differ only beyond what fits are two.
TEST_F(EventsTest, LongMessagesThatDifferAreTwoEvents) {
  EXPECT_EQ(recorded({std::string(2000, 'a') + "1", std::string(2000, 'a') + "2"}).size(), 2u);
}

}  // namespace
}  // namespace vmferry::kube
