#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/channel.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mailbox.h"
#include "coordinator/fleet/admissions.h"
#include "coordinator/fleet/agent_gate.h"
#include "coordinator/fleet/fleet.h"
#include "coordinator/fleet/job_table.h"
#include "coordinator/fleet/journal_store.h"
#include "coordinator/fleet/record_thread.h"
#include "coordinator/fleet/renewals.h"

namespace vmferry {

// The thread that owns the channel and the journals: brings messages and time to the table and
// carries out its effects. The table is shared with the API's callers under a lock that is held for
// memory work only. Records are stored by a thread beside it: what comes after one for the same job
// waits until it is stored, so that no Assign leaves before its attempt is written down.
class FleetLoop {
 public:
  FleetLoop(Fleet::Options options, JournalStore journals, std::vector<JobRecord> records,
            std::unique_ptr<CoordinatorChannel> channel, const Clock& clock, const Logger& log);
  ~FleetLoop();

  const std::string& address() const { return address_; }

  // Calls `work(table, now, effects)` under the lock and has its effects carried out by the loop.
  template <typename Work>
  auto with_table(Work work) {
    struct Wake {
      const WakeFd& fd;
      ~Wake() { fd.signal(); }
    } wake{wake_};
    const std::lock_guard lock(mutex_);
    return work(table_, clock_.steady(), effects_);
  }
  template <typename Work>
  auto read_table(Work work) const {
    const std::lock_guard lock(mutex_);
    return work(table_, clock_.steady());
  }
  Fleet::GateCounts gate_counts() const {
    const std::lock_guard lock(mutex_);
    return admissions_.counts();
  }

 private:
  struct GateAnswer {
    std::string peer;
    Result<AgentPass> pass;
  };
  void run(std::stop_token stop);
  // Under the lock. What is to be asked of the gate afterwards goes to `questions`.
  void hear(const Received& message, SteadyTime now, std::vector<Received>& questions);
  void hear_gate(SteadyTime now);
  void ask_gate(const Received& question);
  void carry_out(Effects effects);
  // False when it failed, so that what depends on it is left out.
  bool carry_out_one(Effect& effect);
  bool done(const SaveRecord& effect);
  bool done(const RemoveJob& effect);
  bool done(const SendMessage& effect);
  bool done(SendAssign& effect);
  bool done(const StoreJournal& effect);
  bool done(AskRenewal& effect);
  bool done(const TellChange& effect);
  bool done(const TellLog& effect);
  void stored(RecordThread::Answer answer);
  void remove_again();
  bool send(const std::string& peer, const protocol::Message& message);
  void tell_strangers();

  const Clock& clock_;
  const Logger log_;
  const ChangeHandler changed_;
  AgentGate* const gate_;  // null: whoever passes the handshake is heard
  const std::function<bool()> may_act_;
  const protocol::Welcome welcome_;
  JournalStore journals_;
  JobRecords& records_;
  const std::unique_ptr<CoordinatorChannel> channel_;
  const std::string address_;
  WakeFd wake_;
  mutable std::mutex mutex_;
  JobTable table_;         // guarded by mutex_
  Effects effects_;        // guarded by mutex_: what the loop has still to do, in order
  Admissions admissions_;  // guarded by mutex_
  std::set<std::string> changes_;
  std::uint64_t garbage_seen_ = 0;
  std::uint64_t refused_seen_ = 0;
  bool silent_ = false;                    // we may not act any more
  std::map<JobId, Effects> held_;          // behind a record that is being stored or removed
  std::map<JobId, SteadyTime> unremoved_;  // removals that failed, and when to try again
  Mailbox<RecordThread::Answer> stored_;
  // Shared: the gate may answer when there is no loop any more.
  const std::shared_ptr<Mailbox<GateAnswer>> passes_ = std::make_shared<Mailbox<GateAnswer>>();
  Mailbox<RenewalAnswer> answers_;
  Renewals renewals_;
  RecordThread record_thread_;
  std::jthread thread_;
};

}  // namespace vmferry
