#include "coordinator/kube/cached_writer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>

#include "coordinator/kube/cached_reader.h"

namespace vmferry::kube {
namespace {

using nlohmann::json;
using types::kConfigMap;

// An API server whose watch tells what the test says, when the test says it.
class SlowServer final : public Reader, public Writer {
 public:
  static Object object(const std::string& name, int version, const std::string& value) {
    return Object(
        json{{"apiVersion", "v1"},
             {"kind", "ConfigMap"},
             {"metadata",
              {{"name", name}, {"namespace", "n"}, {"resourceVersion", std::to_string(version)}}},
             {"data", {{"a", value}}}});
  }
  void tell(EventType type, Object object) {
    const std::lock_guard lock(mutex_);
    events_.push_back({type, std::move(object)});
    changed_.notify_all();
  }
  void end_watch() {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }
  void set_list(std::vector<Object> items, int version) {
    const std::lock_guard lock(mutex_);
    items_ = std::move(items);
    version_ = version;
  }
  void serve(bool served) { served_ = served; }
  std::optional<Object> stored;  // what a direct read gives
  std::optional<Error> write_fails;
  std::function<void()> during_list, during_get;  // after what is told was read
  std::atomic<int> gets{0}, lists{0};

  Result<Object> get(const ResourceType&, const ObjectKey& key, std::stop_token) override {
    ++gets;
    if (during_get) during_get();
    if (stored) return *stored;
    return make_error(ErrorKind::NotFound, "no '{}'", key.to_string());
  }
  Result<ObjectList> list(const ResourceType&, const ListOptions&, std::stop_token) override {
    ++lists;
    if (!served_) return Error(ErrorKind::NotFound, "the server could not find the resource");
    ObjectList answer;
    {
      const std::lock_guard lock(mutex_);
      answer = ObjectList{items_, std::to_string(version_)};
    }
    if (during_list) during_list();
    return answer;
  }
  Result<std::unique_ptr<Watch>> watch(const ResourceType&, const ListOptions&, const std::string&,
                                       std::stop_token) override {
    struct Told final : Watch {
      explicit Told(SlowServer& of) : server(of) {}
      Result<std::optional<WatchEvent>> next(std::chrono::milliseconds timeout,
                                             std::stop_token stop) override {
        std::unique_lock lock(server.mutex_);
        server.changed_.wait_for(lock, stop, timeout,
                                 [&] { return !server.events_.empty() || server.ended_; });
        if (stop.stop_requested()) return Error(ErrorKind::Canceled, "stopped");
        if (std::exchange(server.ended_, false)) return Error(ErrorKind::Aborted, "too old");
        if (server.events_.empty()) return std::optional<WatchEvent>();
        WatchEvent event = std::move(server.events_.front());
        server.events_.pop_front();
        return std::optional(std::move(event));
      }
      SlowServer& server;
    };
    return std::unique_ptr<Watch>(std::make_unique<Told>(*this));
  }
  Result<Object> create(const ResourceType&, const Object&, const WriteOptions&,
                        std::stop_token) override {
    return answer();
  }
  Result<Object> patch(const ResourceType&, const ObjectKey&, const json&, const WriteOptions&,
                       std::stop_token) override {
    return answer();
  }
  Result<Object> patch_status(const ResourceType&, const ObjectKey&, const json&,
                              std::stop_token) override {
    return answer();
  }
  Result<void> remove(const ResourceType&, const ObjectKey&, Propagation, const Preconditions&,
                      std::stop_token) override {
    return {};
  }
  Object answers;  // of the next writes

 private:
  Result<Object> answer() const {
    if (write_fails) return *write_fails;
    return answers;
  }
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<WatchEvent> events_;
  std::vector<Object> items_;
  int version_ = 1;
  bool ended_ = false;
  std::atomic<bool> served_{true};
};

class CachedWriterTest : public testing::Test {
 protected:
  void SetUp() override {
    server.set_list({SlowServer::object("x", 5, "five")}, 5);
    informer = std::make_unique<Informer>(
        server, kConfigMap,
        Informer::Handlers{[this](const Object&) { ++told; }, [this](const Object&) { ++deleted; }},
        clock, Logger());
    reader.add(*informer);
    writer.add(*informer);
    eventually([&] { return informer->coverage() != Informer::Coverage::Unknown; });
  }
  void TearDown() override { informer.reset(); }
  void eventually(const std::function<bool()>& done) {
    const SteadyTime until = clock.steady() + std::chrono::seconds(20);
    while (!done()) {
      ASSERT_LT(clock.steady(), until);
      clock.sleep(std::chrono::milliseconds(2), {});
    }
  }
  std::string read(const std::string& name = "x") {
    const auto object = reader.get(kConfigMap, {"n", name}, {});
    return object ? object->json()["data"]["a"].get<std::string>()
                  : std::string(to_string(object.error().kind()));
  }
  void write(int version, const std::string& value, const std::string& name = "x") {
    server.answers = SlowServer::object(name, version, value);
    ASSERT_TRUE(writer.patch(kConfigMap, {"n", name}, json::object(), {}, {}));
  }

  SystemClock clock;
  SlowServer server;
  std::atomic<int> told{0}, deleted{0};
  CachedReader reader{server};
  CachedWriter writer{server};
  std::unique_ptr<Informer> informer;
};

TEST_F(CachedWriterTest, AReaderSeesItsOwnWritesBeforeTheWatchTellsThem) {
  EXPECT_EQ(read(), "five");
  write(9, "nine");
  EXPECT_EQ(read(), "nine");
  // What the watch tells of the time before changes nothing.
  server.tell(EventType::Modified, SlowServer::object("x", 7, "seven"));
  server.tell(EventType::Added, SlowServer::object("y", 8, "eight"));
  eventually([&] { return read("y") == "eight"; });
  EXPECT_EQ(read(), "nine");
  server.tell(EventType::Modified, SlowServer::object("x", 9, "nine"));
  server.tell(EventType::Modified, SlowServer::object("x", 10, "ten"));
  eventually([&] { return read() == "ten"; });
  EXPECT_EQ(server.gets, 0) << "all from memory";
}

TEST_F(CachedWriterTest, AnAnswerThatComesAfterItsEventDoesNotRaiseTheDead) {
  server.tell(EventType::Modified, SlowServer::object("x", 9, "nine"));
  server.tell(EventType::Deleted, SlowServer::object("x", 12, "nine"));
  eventually([&] { return deleted == 1; });
  write(9, "nine");
  EXPECT_EQ(read(), "NotFound");
}

TEST_F(CachedWriterTest, WhatWasMadeAgainOutlivesTheEventOfItsRemoval) {
  write(20, "new");
  server.tell(EventType::Deleted, SlowServer::object("x", 15, "five"));
  server.tell(EventType::Added, SlowServer::object("y", 16, "marker"));
  eventually([&] { return read("y") == "marker"; });
  EXPECT_EQ(read(), "new");
  EXPECT_EQ(deleted, 0);
}

TEST_F(CachedWriterTest, AfterAFailedWriteTheServerIsAsked) {
  server.write_fails = Error(ErrorKind::DeadlineExceeded, "no answer");
  EXPECT_FALSE(writer.patch(kConfigMap, {"n", "x"}, json::object(), {}, {}));
  server.stored = SlowServer::object("x", 9, "carried out");
  EXPECT_EQ(read(), "carried out");
  EXPECT_EQ(server.gets, 1);
  EXPECT_EQ(read(), "carried out");
  EXPECT_EQ(server.gets, 1) << "known again";
}

TEST_F(CachedWriterTest, AfterARemovalTheServerIsAskedUntilItIsTold) {
  ASSERT_TRUE(writer.remove(kConfigMap, {"n", "x"}, Propagation::Background, {}, {}));
  EXPECT_EQ(read(), "NotFound");
  EXPECT_EQ(server.gets, 1);
  const int lists = server.lists;
  EXPECT_TRUE(reader.list(kConfigMap, {}, {}));
  EXPECT_EQ(server.lists, lists + 1) << "the list is in doubt too";
  const int gets = server.gets;
  server.tell(EventType::Deleted, SlowServer::object("x", 9, "five"));
  eventually([&] { return deleted == 1; });
  EXPECT_EQ(read(), "NotFound");
  EXPECT_EQ(server.gets, gets);
}

// The list may be from before the write that nobody answered.
TEST_F(CachedWriterTest, ADoubtThatCameWhileTheListWasOnItsWayOutlivesIt) {
  std::atomic<bool> asked = false;
  server.during_list = [&] {
    if (asked.exchange(true)) return;
    server.write_fails = Error(ErrorKind::DeadlineExceeded, "no answer");
    EXPECT_FALSE(writer.patch(kConfigMap, {"n", "x"}, json::object(), {}, {}));
  };
  const int before = told;
  server.end_watch();
  eventually([&] { return asked && told > before; });
  server.stored = SlowServer::object("x", 9, "carried out");
  EXPECT_EQ(read(), "carried out");
  EXPECT_EQ(server.gets, 1);
}

TEST_F(CachedWriterTest, AListThatWasAskedForAfterADoubtAnswersIt) {
  server.write_fails = Error(ErrorKind::DeadlineExceeded, "no answer");
  EXPECT_FALSE(writer.patch(kConfigMap, {"n", "x"}, json::object(), {}, {}));
  const int before = told;
  server.set_list({SlowServer::object("x", 9, "carried out")}, 9);
  server.end_watch();
  eventually([&] { return told > before; });
  EXPECT_EQ(read(), "carried out");
  EXPECT_EQ(server.gets, 0);
}

// The event came before the answer to the removal: no other will come to end the doubt.
TEST_F(CachedWriterTest, ADoubtAboutWhatIsGoneAlreadyCostsOneRequestAndEnds) {
  server.tell(EventType::Deleted, SlowServer::object("x", 9, "five"));
  eventually([&] { return deleted == 1; });
  ASSERT_TRUE(writer.remove(kConfigMap, {"n", "x"}, Propagation::Background, {}, {}));
  const int lists = server.lists;
  for (int i = 0; i < 3; ++i) {
    const auto list = reader.list(kConfigMap, {}, {});
    ASSERT_TRUE(list);
    EXPECT_TRUE(list->items.empty());
  }
  EXPECT_EQ(server.lists, lists);
  EXPECT_EQ(server.gets, 1);
}

// What was read before it was written to tells nothing of the write.
TEST_F(CachedWriterTest, ADoubtThatCameWhileTheObjectWasReadOutlivesTheAnswer) {
  server.write_fails = Error(ErrorKind::DeadlineExceeded, "no answer");
  EXPECT_FALSE(writer.patch(kConfigMap, {"n", "x"}, json::object(), {}, {}));
  server.stored = SlowServer::object("x", 5, "five");
  server.during_get = [&] {
    server.during_get = nullptr;
    EXPECT_FALSE(writer.patch(kConfigMap, {"n", "x"}, json::object(), {}, {}));
  };
  EXPECT_EQ(read(), "five");
  server.stored = SlowServer::object("x", 9, "carried out");
  EXPECT_EQ(read(), "carried out");
  EXPECT_EQ(server.gets, 2);
}

TEST_F(CachedWriterTest, TheEndOfAnOlderLifeDoesNotAnswerAnUnansweredCreation) {
  server.write_fails = Error(ErrorKind::DeadlineExceeded, "no answer");
  EXPECT_FALSE(writer.create(kConfigMap, SlowServer::object("x", 0, ""), {}, {}));
  server.tell(EventType::Deleted, SlowServer::object("x", 8, "five"));
  eventually([&] { return deleted == 1; });
  server.stored = SlowServer::object("x", 9, "made again");
  EXPECT_EQ(read(), "made again");
}

TEST_F(CachedWriterTest, ManyDoubtsAreAnsweredByOneList) {
  for (int i = 0; i < 20; ++i) {
    const ObjectKey key{"n", std::to_string(i)};
    ASSERT_TRUE(writer.remove(kConfigMap, key, Propagation::Background, {}, {}));
  }
  const int lists = server.lists;
  EXPECT_TRUE(reader.list(kConfigMap, {}, {}));
  EXPECT_EQ(server.lists, lists + 1);
  EXPECT_EQ(server.gets, 0);
}

TEST_F(CachedWriterTest, ALookAtAllCopiesNothing) {
  const auto first = reader.list_shared(kConfigMap, {}, {});
  const auto second = reader.list_shared(kConfigMap, {}, {});
  ASSERT_TRUE(first && second);
  ASSERT_EQ(first->size(), 1u);
  EXPECT_EQ(first->front().get(), second->front().get());
}

TEST_F(CachedWriterTest, AKindThatIsNotServedHasNoObjectsAndCostsNoRequest) {
  server.serve(false);
  server.end_watch();
  eventually([&] { return informer->coverage() == Informer::Coverage::NotServed; });
  EXPECT_EQ(read(), "NotFound");
  const auto list = reader.list(kConfigMap, {}, {});
  ASSERT_FALSE(list);
  EXPECT_EQ(list.error().kind(), ErrorKind::NotFound);
  EXPECT_EQ(server.gets, 0);
  EXPECT_EQ(deleted, 1) << "what was there is gone";
}

// An informer that follows the objects with one label only, as the caches do for claims and pods.
class PartialCacheTest : public testing::Test {
 protected:
  static Object labelled(const std::string& name, int version, const std::string& owner) {
    Object object = SlowServer::object(name, version, "v" + std::to_string(version));
    if (!owner.empty()) object.json()["metadata"]["labels"] = {{"owner", owner}};
    return object;
  }
  void SetUp() override {
    server.set_list({labelled("a", 3, "one"), labelled("b", 4, "one"), labelled("c", 5, "two")}, 5);
    informer = std::make_unique<Informer>(
        server, kConfigMap, Informer::Handlers{[](const Object&) {}, nullptr}, clock, Logger(),
        ListOptions{.ns = "", .label_selector = "owner"});
    reader.add(*informer);
    writer.add(*informer);
    eventually([&] { return informer->synced(); });
    server.lists = 0;
  }
  void TearDown() override { informer.reset(); }
  void eventually(const std::function<bool()>& done) {
    const SteadyTime until = clock.steady() + std::chrono::seconds(20);
    while (!done()) {
      ASSERT_LT(clock.steady(), until);
      clock.sleep(std::chrono::milliseconds(2), {});
    }
  }
  std::string names(const std::string& selector, const std::string& ns = "n") {
    const auto list = reader.list(kConfigMap, {.ns = ns, .label_selector = selector}, {});
    std::string text;
    if (!list) return std::string(to_string(list.error().kind()));
    for (const Object& object : list->items) text += object.name();
    return text;
  }

  SystemClock clock;
  SlowServer server;
  CachedReader reader{server};
  CachedWriter writer{server};
  std::unique_ptr<Informer> informer;
};

TEST_F(PartialCacheTest, WhatItKnowsCostsNoRequest) {
  EXPECT_TRUE(reader.get(kConfigMap, {"n", "a"}, {}));
  EXPECT_EQ(names("owner=one"), "ab");
  EXPECT_EQ(names("owner=one", ""), "ab");
  EXPECT_EQ(names("owner=two"), "c");
  EXPECT_EQ(names("owner=three"), "");
  EXPECT_EQ(names("owner"), "abc");
  EXPECT_EQ(names("owner=one", "elsewhere"), "");
  EXPECT_EQ(server.gets, 0);
  EXPECT_EQ(server.lists, 0);
}

TEST_F(PartialCacheTest, WhatItDoesNotKnowIsAskedFor) {
  server.stored = labelled("foreign", 2, "");
  const auto foreign = reader.get(kConfigMap, {"n", "foreign"}, {});
  ASSERT_TRUE(foreign) << "it has no label of ours, and exists";
  EXPECT_EQ(server.gets, 1);
  names("");
  names("other=x");
  names("!owner");
  EXPECT_EQ(server.lists, 3) << "lists that go beyond what it follows";
  EXPECT_EQ(names("owner"), "abc") << "what has no label was not taken in";
}

TEST_F(PartialCacheTest, OwnWritesAreSeenAtOnceUnderTheirLabel) {
  server.answers = labelled("d", 9, "two");
  ASSERT_TRUE(writer.create(kConfigMap, server.answers, {}, {}));
  EXPECT_EQ(names("owner=two"), "cd");
  server.answers = labelled("d", 10, "one");
  ASSERT_TRUE(writer.patch(kConfigMap, {"n", "d"}, json::object(), {}, {}));
  EXPECT_EQ(names("owner=two"), "c");
  EXPECT_EQ(names("owner=one"), "abd");
  server.tell(EventType::Deleted, labelled("d", 11, "one"));
  eventually([&] { return names("owner=one") == "ab"; });
  server.tell(EventType::Modified, labelled("a", 12, "two"));
  eventually([&] { return names("owner=one") == "b"; });
  EXPECT_EQ(names("owner=two"), "ac");
  EXPECT_EQ(server.lists, 0);
}

TEST_F(PartialCacheTest, ANewListReplacesTheIndexToo) {
  server.set_list({labelled("e", 20, "one")}, 20);
  server.end_watch();
  eventually([&] { return names("owner=one") == "e"; });
  EXPECT_EQ(names("owner=two"), "");
}

TEST_F(PartialCacheTest, ADoubtAboutOneNamespaceDoesNotTouchTheOthers) {
  ASSERT_TRUE(writer.remove(kConfigMap, {"n", "a"}, Propagation::Background, {}, {}));
  names("owner=one", "elsewhere");
  EXPECT_EQ(server.lists, 0);
  names("owner=one");
  EXPECT_EQ(server.lists, 1);
}

TEST(LabelSelectorTest, KnowsWhatLiesWithinAnother) {
  const auto within = [](const char* selector, const char* wider) {
    return LabelSelector::parse(selector)->is_within(*LabelSelector::parse(wider));
  };
  EXPECT_TRUE(within("a=b", ""));
  EXPECT_TRUE(within("a=b", "a"));
  EXPECT_TRUE(within("a=b,c", "c"));
  EXPECT_TRUE(within("!a", "!a"));
  EXPECT_FALSE(within("", "a"));
  EXPECT_FALSE(within("a", "a=b"));
  EXPECT_FALSE(within("a!=b", "a"));
  EXPECT_FALSE(within("a=b", "a=c"));
}

}  // namespace
}  // namespace vmferry::kube
