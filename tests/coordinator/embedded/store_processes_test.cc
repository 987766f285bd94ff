#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <thread>

#include "tests/coordinator/embedded/store_support.h"

namespace vmferry::embedded {
namespace {

using kube::types::kConfigMap;
using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;

// Several processes on one file. The children open their own Store after the fork.
class StoreProcessesTest : public StoreFixture {
 protected:
  pid_t run(const std::function<bool(Store&)>& body) {
    store_.reset();  // a connection must not be carried over a fork
    const pid_t child = fork();
    if (child != 0) return child;
    auto store = Store::open(dir_.path("store.db"), clock_);
    _exit(store && body(**store) ? 0 : 1);
  }
  static int wait_for(pid_t child) {
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    return status;
  }
};

bool increment(Store& store, int times) {
  for (int i = 0; i < times;) {
    const auto now = store.get(kConfigMap, {"n", "counter"}, {});
    if (!now) return false;
    const int value = std::stoi(now->json()["data"]["a"].get<std::string>());
    const auto after =
        store.patch(kConfigMap, {"n", "counter"},
                    json{{"metadata", {{"resourceVersion", now->resource_version()}}},
                         {"data", {{"a", std::to_string(value + 1)}}}},
                    {}, {});
    if (after) {
      ++i;
    } else if (after.error().kind() != ErrorKind::Aborted) {
      return false;
    }
  }
  return true;
}

TEST_F(StoreProcessesTest, ConflictingWritersLoseNothing) {
  make(kConfigMap, config_map("counter"));
  const pid_t a = run([](Store& store) { return increment(store, 50); });
  const pid_t b = run([](Store& store) { return increment(store, 50); });
  EXPECT_EQ(wait_for(a), 0);
  EXPECT_EQ(wait_for(b), 0);
  store_ = open();
  EXPECT_EQ(find("counter")->json()["data"]["a"], "101");
}

TEST_F(StoreProcessesTest, AWatchSeesTheWritesOfAnotherProcess) {
  const pid_t child = run([](Store& store) {
    for (int i = 0; i < 20; ++i) {
      if (!store.create(kConfigMap, config_map("c" + std::to_string(i)), {}, {})) return false;
    }
    return true;
  });
  store_ = open();
  const auto watch = store_->watch(kConfigMap, {}, "1", {});
  for (int i = 0; i < 20; ++i) {
    const auto event = (*watch)->next(seconds(20), {});
    ASSERT_TRUE(event && *event);
    EXPECT_EQ((*event)->object.name(), "c" + std::to_string(i));
  }
  EXPECT_EQ(wait_for(child), 0);
}

// What was answered is there, what is there is whole, and the next process just goes on.
TEST_F(StoreProcessesTest, SurvivesKilledWriters) {
  make(kConfigMap, config_map("counter"));
  int answered = 1;
  for (int round = 0; round < 12; ++round) {
    int pipe_fds[2];
    ASSERT_EQ(pipe(pipe_fds), 0);
    const pid_t child = run([&](Store& store) {
      close(pipe_fds[0]);
      while (increment(store, 1) && write(pipe_fds[1], "x", 1) == 1) {
      }
      return false;
    });
    close(pipe_fds[1]);
    std::this_thread::sleep_for(milliseconds(15 + 7 * round));
    kill(child, SIGKILL);
    wait_for(child);
    char byte = 0;
    while (read(pipe_fds[0], &byte, 1) == 1) ++answered;
    close(pipe_fds[0]);

    store_ = open();
    const auto now = find("counter");
    ASSERT_TRUE(now);
    const int value = std::stoi(now->json()["data"]["a"].get<std::string>());
    // The last one may be stored without having been answered.
    EXPECT_GE(value, answered);
    EXPECT_LE(value, answered + 1);
    answered = value;
    EXPECT_EQ(store_->list(kConfigMap, {}, {})->resource_version, now->resource_version());
  }
}

}  // namespace
}  // namespace vmferry::embedded
