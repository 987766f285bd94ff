#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/protocol.h"
#include "transfer/journal.h"

namespace vmferry {

// Durable chunks of one attempt on their way to the coordinator (pure): cut into messages, sent a
// few at a time, and again until acknowledged.
class JournalOutbox {
 public:
  JournalOutbox() = default;
  JournalOutbox(JobId job, protocol::Attempt attempt) : job_(std::move(job)), attempt_(attempt) {}

  // The target is open. Queues a message without chunks, so that the coordinator learns the epoch.
  void opened(std::string epoch, std::string identity, bool started_over);
  void add(const std::vector<DurableChunk>& chunks);
  // To a coordinator that may not know it. Nothing before opened().
  void tell_epoch_again();
  void acknowledged(std::uint64_t sequence);

  // What is to be sent now: not sent yet or not acknowledged for two seconds, oldest first, a few
  // at a time; with `all` everything, for when the job has ended.
  std::vector<protocol::JournalUpdate> due(SteadyTime now, bool all = false);
  bool empty() const { return waiting_.empty(); }

 private:
  struct Waiting {
    protocol::JournalUpdate update;
    std::optional<SteadyTime> sent;
  };
  void push(bool reset, std::string chunks);

  JobId job_;
  protocol::Attempt attempt_ = 0;
  std::string epoch_;
  std::string identity_;
  std::uint64_t last_sequence_ = 0;
  std::deque<Waiting> waiting_;
};

}  // namespace vmferry
