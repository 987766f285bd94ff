#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/bytes.h"
#include "common/channel.h"
#include "common/guarded.h"

namespace vmferry::test {

// What speaks the agents' protocol and copies nothing: it says that it did. For tests of what
// happens around a copy.
class FakeAgent {
 public:
  struct Options {
    std::string address, server_key;
    std::string id, node;
    std::function<std::string()> token = [] { return std::string(); };
    bool finishes = true;  // says done to every assignment
    bool vddk = false;
    std::string owner = {};  // of the disks that it finishes, as in protocol::Done
  };
  struct Seen {
    int welcomes = 0, acks = 0, hellos = 0;
    std::vector<protocol::Assign> assigned;
  };

  explicit FakeAgent(Options options) : options_(std::move(options)) {
    auto channel = AgentChannel::connect({.address = options_.address,
                                          .server_key = options_.server_key,
                                          .keys = CurveKeys::generate()});
    if (channel) channel_ = *std::move(channel);
    thread_ = std::jthread([this](std::stop_token stop) { run(stop); });
  }
  FakeAgent(const FakeAgent&) = delete;
  FakeAgent& operator=(const FakeAgent&) = delete;

  Seen seen() const { return *seen_.lock(); }
  bool is_in() const { return seen().acks > 0; }

 private:
  using Clock = std::chrono::steady_clock;

  void run(std::stop_token stop) {
    while (channel_ && !stop.stop_requested()) {
      const auto messages = channel_->receive(std::chrono::milliseconds(20), {});
      if (messages) {
        for (const protocol::Message& message : *messages) {
          std::visit([this](const auto& m) { on(m); }, message);
        }
      }
      if (Clock::now() < next_) continue;
      next_ = Clock::now() + std::chrono::milliseconds(100);
      welcomed_ ? say_heartbeat() : say_hello();
    }
  }
  void say_hello() {
    outstanding_ = true;
    ++seen_.lock()->hellos;
    protocol::Hello hello;
    hello.agent = AgentId{options_.id};
    hello.incarnation = incarnation_;
    hello.node = options_.node;
    hello.token = options_.token();
    hello.slots = 8;
    hello.vddk = options_.vddk;
    (void)channel_->send(hello);
  }
  void say_heartbeat() {
    protocol::Heartbeat heartbeat;
    heartbeat.agent = AgentId{options_.id};
    heartbeat.incarnation = incarnation_;
    heartbeat.free_slots = 8;
    heartbeat.sequence = ++sequence_;
    for (const auto& [job, assign] : jobs_) heartbeat.jobs.push_back(status_of(assign));
    (void)channel_->send(heartbeat);
    if (!options_.finishes) return;
    for (const auto& [job, assign] : jobs_) {
      protocol::Done done;
      done.job = job;
      done.attempt = assign.attempt;
      done.status = status_of(assign);
      done.digest = "xxh3-128:00000000000000000000000000000000";
      done.verified = true;
      done.owner = options_.owner;
      (void)channel_->send(done);
    }
  }
  protocol::JobStatus status_of(const protocol::Assign& assign) const {
    protocol::JobStatus status;
    status.job = assign.job;
    status.attempt = assign.attempt;
    status.phase = options_.finishes ? protocol::JobPhase::Done : protocol::JobPhase::Copying;
    status.virtual_bytes = status.to_move_bytes = assign.source.size_bytes;
    status.to_move_final = true;
    status.moved_bytes = options_.finishes ? assign.source.size_bytes : 0;
    return status;
  }

  void on(const protocol::Welcome&) {
    ++seen_.lock()->welcomes;
    if (!std::exchange(outstanding_, false)) return say_hello();
    welcomed_ = true;
  }
  void on(const protocol::HeartbeatAck&) { ++seen_.lock()->acks; }
  void on(const protocol::Assign& assign) {
    seen_.lock()->assigned.push_back(assign);
    jobs_[assign.job] = assign;
    (void)channel_->send(protocol::Accepted{assign.job, assign.attempt});
  }
  void on(const protocol::Forget& message) { jobs_.erase(message.job); }
  void on(const protocol::Cancel& message) {
    jobs_.erase(message.job);
    (void)channel_->send(protocol::Cancelled{message.job, message.attempt});
  }
  template <typename Other>
  void on(const Other&) {}

  const Options options_;
  const std::string incarnation_ = CurveKeys::generate().public_key;
  std::unique_ptr<AgentChannel> channel_;
  bool outstanding_ = false, welcomed_ = false;
  std::uint64_t sequence_ = 0;
  Clock::time_point next_{};
  std::map<JobId, protocol::Assign> jobs_;
  Guarded<Seen> seen_;
  std::jthread thread_;  // last: ends before what it uses
};

}  // namespace vmferry::test
