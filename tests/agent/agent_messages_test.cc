// An agent within this process, and a coordinator that says what a test wants it to say.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "agent/agent.h"
#include "common/channel.h"
#include "common/fd.h"
#include "common/guarded.h"

namespace vmferry {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::seconds kPatience{60};
constexpr std::chrono::seconds kLease{30};

// The machine's time, which tests move on. The machine was suspended for an hour once.
class MovableClock final : public Clock {
 public:
  WallTime wall() const override { return real_.wall(); }
  SteadyTime steady() const override {
    return real_.steady() + std::chrono::nanoseconds(ahead_.load());
  }
  SteadyTime boot() const override { return steady() + 1h; }
  bool sleep(std::chrono::nanoseconds time, std::stop_token stop) const override {
    return real_.sleep(time, std::move(stop));
  }
  void advance(std::chrono::nanoseconds time) { ahead_ += time.count(); }

 private:
  const SystemClock real_;
  std::atomic<std::int64_t> ahead_{0};
};

// Answers what keeps an agent alive; what else comes is kept for the test.
class TalkingCoordinator {
 public:
  TalkingCoordinator() {
    Result<std::unique_ptr<CoordinatorChannel>> channel =
        CoordinatorChannel::bind({.keys = keys_, .allowed = std::nullopt});
    EXPECT_TRUE(channel.ok());
    channel_ = *std::move(channel);
  }

  const std::string& address() const { return channel_->address(); }
  const std::string& key() const { return keys_.public_key; }

  void send(const protocol::Message& message) { EXPECT_TRUE(channel_->send(peer_, message).ok()); }
  // Until the agent has a lease of what it does from now on.
  void give_lease() {
    settle(false);
    const std::uint64_t before = heartbeats_;
    pump(true, [&] { return heartbeats_ > before; });
    settle(true);
  }
  // All that was sent so far has been dealt with, and the answers are here.
  void settle(bool acknowledge = true) {
    protocol::Cancel cancel;
    cancel.job = JobId{"nobody's"};
    cancel.attempt = ++settled_;
    send(cancel);
    pump(acknowledge, [&] {
      return std::ranges::any_of(inbox_, [&](const auto& message) {
        const auto* cancelled = std::get_if<protocol::Cancelled>(&message);
        return cancelled != nullptr && cancelled->attempt == settled_;
      });
    });
  }
  void connected() {
    pump(true, [&] { return heartbeats_ > 0; });
  }
  // As another process that knows nothing of the agent.
  void start_anew(std::string name) {
    name_ = std::move(name);
    send(welcome());
    give_lease();
  }
  // Whether the agent answered so since it was last asked.
  bool has_refused(const JobId& job) {
    settle();
    const auto found = std::ranges::find_if(inbox_, [&](const auto& message) {
      const auto* refused = std::get_if<protocol::Refused>(&message);
      return refused != nullptr && refused->job == job;
    });
    const bool refused = found != inbox_.end();
    inbox_.clear();
    return refused;
  }

 private:
  protocol::Welcome welcome() const {
    protocol::Welcome welcome;
    welcome.coordinator = name_;
    welcome.heartbeat_every = 50ms;
    welcome.lease = kLease;
    return welcome;
  }
  void pump(bool acknowledge, const std::function<bool()>& done) {
    const auto give_up = std::chrono::steady_clock::now() + kPatience;
    while (!done()) {
      ASSERT_LT(std::chrono::steady_clock::now(), give_up);
      const auto messages = channel_->receive(50ms, {});
      ASSERT_TRUE(messages.ok());
      for (const Received& received : *messages) take(received, acknowledge);
    }
  }
  void take(const Received& received, bool acknowledge) {
    if (std::holds_alternative<protocol::Hello>(received.message)) {
      peer_ = received.peer;
      send(welcome());
    } else if (const auto* beat = std::get_if<protocol::Heartbeat>(&received.message)) {
      ++heartbeats_;
      if (acknowledge) send(protocol::HeartbeatAck{name_, beat->sequence});
    } else {
      inbox_.push_back(received.message);
    }
  }

  const CurveKeys keys_ = CurveKeys::generate();
  std::unique_ptr<CoordinatorChannel> channel_;
  std::string name_ = "one";
  std::string peer_;
  std::uint64_t heartbeats_ = 0;
  protocol::Attempt settled_ = 0;
  std::vector<protocol::Message> inbox_;
};

class AgentMessagesTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(::mkdtemp(directory_.data()), nullptr); }
  void TearDown() override {
    thread_ = {};
    agent_.reset();
    std::filesystem::remove_all(directory_);
  }
  void start_agent(AgentOptions options = {}) {
    options.coordinator = coordinator_.address();
    options.server_key = coordinator_.key();
    options.keys = CurveKeys::generate();
    options.id = AgentId{"a"};
    options.state_directory = directory_ + "/state";
    Result<std::unique_ptr<Agent>> agent = Agent::create(std::move(options), clock_, Logger());
    ASSERT_TRUE(agent.ok()) << to_string(agent.error());
    agent_ = *std::move(agent);
    thread_ = std::jthread([this](std::stop_token stop) {
      Result<void> ended = agent_->run(std::move(stop));
      *ended_.lock() = std::move(ended);
    });
    coordinator_.connected();
  }

  std::string directory_ = ::testing::TempDir() + "vmferry-messages-XXXXXX";
  MovableClock clock_;
  TalkingCoordinator coordinator_;
  std::unique_ptr<Agent> agent_;
  Guarded<std::optional<Result<void>>> ended_;
  std::jthread thread_;
};

const JobId kJob{"job"};

protocol::AssignJournal journal_part() {
  protocol::AssignJournal part;
  part.job = kJob;
  part.attempt = 2;
  part.chunks = {std::string(1000, 'c')};
  return part;
}

protocol::Assign assignment_with_journal() {
  protocol::Assign assign;
  assign.job = kJob;
  assign.attempt = 2;
  assign.journal_parts = 1;
  return assign;
}

// Of an agent that takes no jobs: an assignment with its whole journal is refused, one without it
// is dropped, so the answer tells whether the part was kept.
TEST_F(AgentMessagesTest, TheJournalOfAnAssignmentThatWillNotComeIsNotKept) {
  start_agent();
  protocol::Drain drain;
  drain.on = true;
  coordinator_.send(drain);
  struct Case {
    std::string_view what;
    bool kept;
    std::function<void()> happens;
  };
  const auto cancel = [&](const JobId& job, protocol::Attempt attempt) {
    coordinator_.send(protocol::Cancel{job, attempt});
  };
  const auto forget = [&](const JobId& job, protocol::Attempt attempt) {
    coordinator_.send(protocol::Forget{job, attempt});
  };
  const Case cases[] = {
      {"nothing", true, [] {}},
      {"an earlier attempt is cancelled", true, [&] { cancel(kJob, 1); }},
      {"another job is cancelled", true, [&] { cancel(JobId{"other"}, 7); }},
      {"it is cancelled", false, [&] { cancel(kJob, 2); }},
      {"a later attempt is cancelled", false, [&] { cancel(kJob, 3); }},
      {"an earlier attempt is forgotten", true, [&] { forget(kJob, 1); }},
      {"it is forgotten", false, [&] { forget(kJob, 2); }},
      {"the coordinator is another", false, [&] { coordinator_.start_anew("two"); }},
      {"the lease ends", false,
       [&] {
         coordinator_.settle(false);
         clock_.advance(kLease + 1s);
         coordinator_.give_lease();
       }},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    coordinator_.give_lease();
    (void)coordinator_.has_refused(kJob);
    coordinator_.send(journal_part());
    coordinator_.settle();
    c.happens();
    coordinator_.send(assignment_with_journal());
    EXPECT_EQ(coordinator_.has_refused(kJob), c.kept);
    // With the part before it, as it is sent again, it is complete.
    coordinator_.send(journal_part());
    coordinator_.send(assignment_with_journal());
    EXPECT_TRUE(coordinator_.has_refused(kJob));
  }
}

// The lease counts the time of a suspended machine, other deadlines do not: mixed up, an agent
// would wait for a coordinator that is gone as long as its machine ever slept.
TEST_F(AgentMessagesTest, EndsForTheNewKeyOfACoordinatorThatWasInstalledAnew) {
  const std::string key_file = directory_ + "/public-key";
  ASSERT_TRUE(write_file_atomically(key_file, coordinator_.key() + "\n").ok());
  AgentOptions options;
  options.server_key_file = key_file;
  start_agent(std::move(options));
  coordinator_.give_lease();
  ASSERT_TRUE(write_file_atomically(key_file, CurveKeys::generate().public_key + "\n").ok());
  clock_.advance(kLease / 2);
  std::this_thread::sleep_for(100ms);
  EXPECT_FALSE(ended_.lock()->has_value()) << "the lease is still good";
  clock_.advance(kLease);
  const auto give_up = std::chrono::steady_clock::now() + 30s;
  while (!ended_.lock()->has_value() && std::chrono::steady_clock::now() < give_up) {
    std::this_thread::sleep_for(5ms);
  }
  auto ended = ended_.lock();
  ASSERT_TRUE(ended->has_value());
  ASSERT_FALSE((*ended)->ok());
  EXPECT_EQ((*ended)->error().kind(), ErrorKind::Unavailable);
  EXPECT_NE((*ended)->error().message().find("another key"), std::string::npos);
}

}  // namespace
}  // namespace vmferry
