#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/fleet/job_table.h"

namespace vmferry {

using namespace std::chrono_literals;

inline const JobId kJob{"uid/disk"};

// A table, a clock, and agents that say what the test wants.
class JobTableTest : public ::testing::Test {
 protected:
  void make_table(std::vector<JobRecord> records = {}) {
    JobTable::Options options;
    options.coordinator = "coordinator";
    options.settle = 1s;
    options.attempts_per_job = 3;
    table.emplace(options, std::move(records), now);
  }
  void SetUp() override { make_table(); }

  // Messages of `effects` to peers, as "kind" words; the last record is kept.
  std::string carried_out(const Effects& effects) {
    std::string kinds;
    for (const Effect& effect : effects) {
      std::string word;
      if (const auto* message = std::get_if<SendMessage>(&effect)) {
        word = std::string(protocol::kind_of(message->message));
      } else if (const auto* assign = std::get_if<SendAssign>(&effect)) {
        word = "assign" + std::to_string(assign->assign.attempt) + ">" + assign->peer;
      } else if (const auto* save = std::get_if<SaveRecord>(&effect)) {
        stored = save->record;
        word = "save";
      } else if (std::holds_alternative<RemoveJob>(effect)) {
        stored.reset();
        word = "remove";
      } else if (std::holds_alternative<StoreJournal>(effect)) {
        word = "journal";
      }
      if (!word.empty()) kinds += (kinds.empty() ? "" : " ") + word;
    }
    return kinds;
  }
  std::string say(const std::string& agent, protocol::Message message) {
    Effects effects;
    table->handle({agent + "-peer", agent + "-key", std::move(message)}, now, effects);
    return carried_out(effects);
  }
  std::string hello(const std::string& agent, std::vector<protocol::JobStatus> jobs = {},
                    const std::string& incarnation = "1") {
    return hello_from(agent, "node-" + agent, std::move(jobs), incarnation);
  }
  std::string hello_from(const std::string& agent, const std::string& node,
                         std::vector<protocol::JobStatus> jobs = {},
                         const std::string& incarnation = "1") {
    protocol::Hello message;
    message.agent = AgentId{agent};
    message.incarnation = incarnation;
    message.node = node;
    message.slots = 4;
    message.jobs = std::move(jobs);
    return say(agent, message);
  }
  // Agent a is there all the time.
  void pass_time(int half_seconds) {
    for (int i = 0; i < half_seconds; ++i) {
      now += std::chrono::milliseconds(500);
      beat("a");
    }
  }
  std::string beat(const std::string& agent, std::vector<protocol::JobStatus> jobs = {}) {
    return say(agent, protocol::Heartbeat{AgentId{agent}, "1", 4, 0, 0, std::move(jobs), 1});
  }
  std::string tick(std::chrono::milliseconds time = 0ms) {
    now += time;
    Effects effects;
    table->tick(now, effects);
    return carried_out(effects);
  }
  void submit(std::vector<std::string> nodes = {}) {
    TransferRequest request;
    request.job = kJob;
    request.nodes = std::move(nodes);
    request.import_key = "ns/vm";
    request.ns = "ns";
    request.size_bytes = 1000 << 20;
    Effects effects;
    table->submit(request, effects);
    carried_out(effects);
  }
  bool cancel() {
    Effects effects;
    const bool gone = table->cancel(kJob, effects);
    carried_out(effects);
    return gone;
  }
  static protocol::JobStatus status(protocol::Attempt attempt, std::uint64_t moved_mib = 0) {
    protocol::JobStatus s;
    s.job = kJob;
    s.attempt = attempt;
    s.phase = protocol::JobPhase::Copying;
    s.to_move_bytes = 1000 << 20;
    s.moved_bytes = moved_mib << 20;
    return s;
  }
  protocol::Failed failed(protocol::Attempt attempt, ErrorKind kind, std::string_view code = "",
                          std::uint64_t moved_mib = 0) const {
    return {kJob, attempt, status(attempt, moved_mib), {kind, std::string(code), "why"}};
  }
  TransferView view() const { return table->transfer(kJob, now).value_or(TransferView{}); }
  // Attempt 1 runs on agent a.
  void run_on_a() {
    hello("a");
    submit();
    ASSERT_EQ(tick(1s), "save assign1>a-peer");
    say("a", protocol::Accepted{kJob, 1});
    ASSERT_EQ(view().state, TransferState::Running);
  }

  SteadyTime now{std::chrono::hours(1)};
  std::optional<JobTable> table;
  std::optional<JobRecord> stored;
};

}  // namespace vmferry
