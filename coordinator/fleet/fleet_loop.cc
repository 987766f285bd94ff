#include "coordinator/fleet/fleet_loop.h"

#include <exception>
#include <optional>
#include <type_traits>
#include <vector>

namespace vmferry {
namespace {

constexpr std::chrono::milliseconds kTick{100};
constexpr std::chrono::milliseconds kLeastTick{20};  // however many messages come
constexpr std::size_t kMostChunksOfPart = 8192;
constexpr std::size_t kMostHeld = 256;  // of a job whose record cannot be stored: asked for again
constexpr std::chrono::seconds kRemoveAgain{2};

JobTable::Options table_options(const Fleet::Options& options, const protocol::Welcome& welcome) {
  JobTable::Options table;
  table.coordinator = welcome.coordinator;
  table.heartbeat_every = options.heartbeat_every;
  table.lease = options.lease;
  table.settle = options.settle;
  table.attempts_per_job = options.attempts_per_job;
  table.agent_limit_bytes_per_second = options.agent_limit_bytes_per_second;
  table.limits.jobs_per_datastore = options.jobs_per_datastore;
  table.limits.jobs_per_provider = options.jobs_per_provider;
  table.limits.jobs_per_source_host = options.jobs_per_source_host;
  table.limits.bytes_per_source_host = options.bytes_per_source_host;
  table.limits.connections_per_source_host = options.connections_per_source_host;
  table.limits.connections_per_provider = options.connections_per_provider;
  return table;
}

// The job that an effect is about; empty for none.
JobId job_of(const Effect& effect) {
  return std::visit(
      [](const auto& e) -> JobId {
        using E = std::decay_t<decltype(e)>;
        if constexpr (std::is_same_v<E, SaveRecord>)
          return e.record.job;
        else if constexpr (std::is_same_v<E, SendAssign>)
          return e.assign.job;
        else if constexpr (std::is_same_v<E, StoreJournal>)
          return e.update.job;
        else if constexpr (std::is_same_v<E, AskRenewal>)
          return e.request.job;
        else if constexpr (requires { e.job; })
          return e.job;
        else
          return {};
      },
      effect);
}

}  // namespace

FleetLoop::FleetLoop(Fleet::Options options, JournalStore journals, std::vector<JobRecord> records,
                     std::unique_ptr<CoordinatorChannel> channel, const Clock& clock,
                     const Logger& log)
    : clock_(clock),
      log_(log),
      changed_(options.changed),
      gate_(options.gate),
      may_act_(options.may_act),
      welcome_{protocol::kVersion, random_hex_id(), options.heartbeat_every, options.lease},
      journals_(std::move(journals)),
      records_(options.records != nullptr ? *options.records : journals_),
      channel_(std::move(channel)),
      address_(channel_->address()),
      table_(table_options(options, welcome_), std::move(records), clock.steady()),
      renewals_(options.renew, log, answers_),
      record_thread_(records_, stored_),
      thread_([this](std::stop_token stop) { run(stop); }) {}

FleetLoop::~FleetLoop() {
  thread_.request_stop();
  wake_.signal();
}

void FleetLoop::run(std::stop_token stop) {
  SteadyTime last_tick{};
  const std::vector<int> wake_fds{wake_.get(), answers_.wake_fd(), stored_.wake_fd(),
                                  passes_->wake_fd()};
  bool late = false;
  while (!stop.stop_requested()) {
    try {
      Result<std::vector<Received>> received =
          channel_->receive(late ? kLeastTick : kTick, wake_fds);
      if (!received) {
        log_.error("cannot receive from agents", received.error());
        clock_.sleep(kTick, stop);
        continue;
      }
      wake_.clear();
      if (may_act_ && !may_act_()) {
        // Nothing is sent any more: no acknowledgement may prolong an agent's lease.
        if (!std::exchange(silent_, true)) log_.warn("the fleet is silent");
        clock_.sleep(kTick, stop);
        continue;
      }
      for (RecordThread::Answer& answer : stored_.take_all()) stored(std::move(answer));
      remove_again();
      Effects effects;
      std::vector<Received> questions;
      const std::vector<RenewalAnswer> renewals = answers_.take_all();
      {
        const std::lock_guard lock(mutex_);
        const SteadyTime now = clock_.steady();
        for (const Received& message : *received) hear(message, now, questions);
        if (gate_ != nullptr) hear_gate(now);
        for (const auto& [peer, renewed, host] : renewals) {
          table_.source_moved(renewed.job, renewed.attempt, host, effects_);
        }
        late = now - last_tick < kLeastTick;
        if (!late) {
          last_tick = now;
          table_.tick(now, effects_);
        }
        effects.swap(effects_);
      }
      for (const Received& question : questions) ask_gate(question);
      carry_out(std::move(effects));
      for (const RenewalAnswer& answer : renewals) send(answer.peer, answer.renewed);
      tell_strangers();
    } catch (const std::exception& error) {
      log_.error("the fleet's loop met an exception", {{"error", error.what()}});
    }
  }
}

void FleetLoop::hear(const Received& message, SteadyTime now, std::vector<Received>& questions) {
  if (gate_ == nullptr) return table_.handle(message, now, effects_);
  const Admissions::Verdict verdict = admissions_.judge(message, now);
  if (verdict.hear) table_.handle(message, now, effects_);
  if (verdict.ask) questions.push_back(message);
}

// The gate's answers, and those whose pass runs out.
void FleetLoop::hear_gate(SteadyTime now) {
  for (const GateAnswer& answer : passes_->take_all()) {
    const Admissions::Admitted admitted = admissions_.answered(answer.peer, answer.pass, now);
    if (admitted.hello) table_.handle(*admitted.hello, now, effects_);
    if (!admitted.news) continue;
    LogFields fields{{"agent", admitted.agent.value}};
    if (answer.pass) {
      fields.push_back({"who", answer.pass->who});
      effects_.push_back(TellLog{LogLevel::Info, "agent has proven who it is", std::move(fields)});
      continue;
    }
    const bool refused = answer.pass.error().kind() == ErrorKind::PermissionDenied;
    fields.push_back({"reason", answer.pass.error().message()});
    effects_.push_back(TellLog{LogLevel::Warn,
                               refused ? "agent refused" : "cannot find out who an agent is",
                               std::move(fields)});
  }
  for (const std::string& peer : admissions_.to_greet(now)) {
    effects_.push_back(SendMessage{peer, {}, welcome_});
  }
}

void FleetLoop::ask_gate(const Received& question) {
  gate_->check(std::get<protocol::Hello>(question.message), question.key,
               [passes = passes_, peer = question.peer](Result<AgentPass> pass) {
                 passes->put({peer, std::move(pass)});
               });
}

void FleetLoop::carry_out(Effects effects) {
  std::set<JobId> failed;
  for (Effect& effect : effects) {
    const JobId job = job_of(effect);
    if (!job.empty()) {
      if (const auto held = held_.find(job); held != held_.end()) {
        const bool removal = std::holds_alternative<RemoveJob>(effect);
        if (removal || held->second.size() < kMostHeld) held->second.push_back(std::move(effect));
        continue;
      }
      if (failed.contains(job)) continue;
    }
    if (!carry_out_one(effect) && !job.empty()) failed.insert(job);
  }
  for (const std::string& import_key : std::exchange(changes_, {})) changed_(import_key);
}

// A record is stored or removed, or is not: what waited for that goes on, or is left out but for
// the job's removal.
void FleetLoop::stored(RecordThread::Answer answer) {
  if (!answer.result) {
    log_.error(answer.removal ? "cannot remove a job" : "cannot store a job", answer.result.error(),
               {{"job", answer.job.value}});
    if (answer.removal) {
      unremoved_[answer.job] = clock_.steady() + kRemoveAgain;
      return;  // what comes behind waits: the removal must not hit a later record
    }
  } else if (answer.removal) {
    if (const Result<void> removed = journals_.remove(answer.job); !removed) {
      log_.warn("cannot remove a journal", removed.error(), {{"job", answer.job.value}});
    }
  }
  const auto found = held_.find(answer.job);
  if (found == held_.end()) return;
  Effects held = std::move(found->second);
  held_.erase(found);
  if (!answer.result) {
    std::erase_if(held, [](const Effect& effect) {
      return !std::holds_alternative<RemoveJob>(effect) && !std::holds_alternative<TellLog>(effect);
    });
  }
  carry_out(std::move(held));
}

void FleetLoop::remove_again() {
  const SteadyTime now = clock_.steady();
  for (auto due = unremoved_.begin(); due != unremoved_.end();) {
    if (due->second > now) {
      ++due;
      continue;
    }
    record_thread_.remove(due->first);
    due = unremoved_.erase(due);
  }
}

bool FleetLoop::carry_out_one(Effect& effect) {
  return std::visit([this](auto& e) { return done(e); }, effect);
}

bool FleetLoop::done(const SaveRecord& effect) {
  held_.try_emplace(effect.record.job);
  record_thread_.save(effect.record);
  return true;
}

bool FleetLoop::done(const RemoveJob& effect) {
  held_.try_emplace(effect.job);
  record_thread_.remove(effect.job);
  return true;
}

// A message that does not leave is no failure of the job: all are said again.
bool FleetLoop::send(const std::string& peer, const protocol::Message& message) {
  if (peer.empty()) return false;
  // A welcome holds no secret, and is what makes an agent show itself. An assignment does.
  if (gate_ != nullptr && !std::holds_alternative<protocol::Welcome>(message)) {
    const std::lock_guard lock(mutex_);
    if (!admissions_.may_hear_us(peer, clock_.steady())) return false;
  }
  const Result<void> sent = channel_->send(peer, message);
  if (!sent) {
    log_.debug("message not sent",
               {{"kind", protocol::kind_of(message)}, {"error", sent.error().message()}});
  }
  return sent.ok();
}

bool FleetLoop::done(const SendMessage& effect) {
  send(effect.peer, effect.message);
  return true;
}

bool FleetLoop::done(SendAssign& effect) {
  protocol::Assign& assign = effect.assign;
  Result<JournalStore::Stored> stored = journals_.journal(assign.job);
  if (!stored) {
    log_.warn("journal is unusable; the disk is copied anew", stored.error(),
              {{"job", assign.job.value}});
    stored = JournalStore::Stored{};
  }
  if (assign.epoch.empty()) {
    assign.epoch = stored->epoch;
    assign.identity = stored->identity;
  } else if (stored->epoch != assign.epoch || stored->identity != assign.identity) {
    stored->chunks.clear();  // of another life of the target, or of none
  }
  for (std::size_t next = 0; next < stored->chunks.size();) {
    protocol::AssignJournal part{assign.job, assign.attempt, assign.journal_parts++, {}};
    std::size_t bytes = 0;
    while (next < stored->chunks.size() && part.chunks.size() < kMostChunksOfPart &&
           (part.chunks.empty() ||
            bytes + stored->chunks[next].size() <= protocol::kMaxJournalPartBytes)) {
      bytes += stored->chunks[next].size();
      part.chunks.push_back(std::move(stored->chunks[next++]));
    }
    if (!send(effect.peer, part)) return true;
  }
  log_.info("job assigned", {{"job", assign.job.value},
                             {"attempt", std::uint64_t{assign.attempt}},
                             {"import", assign.import_key},
                             {"disk", assign.disk}});
  send(effect.peer, assign);
  return true;
}

bool FleetLoop::done(const StoreJournal& effect) {
  const protocol::JournalUpdate& update = effect.update;
  const Result<bool> is_first = journals_.append(update);
  if (!is_first) {
    log_.warn("cannot store a journal", is_first.error(), {{"job", update.job.value}});
    return true;  // not acknowledged, so it comes again
  }
  send(effect.peer, protocol::JournalAck{update.job, update.attempt, update.sequence, *is_first});
  return true;
}

bool FleetLoop::done(AskRenewal& effect) {
  renewals_.ask(effect.source, std::move(effect.peer), std::move(effect.request));
  return true;
}

bool FleetLoop::done(const TellChange& effect) {
  if (changed_) changes_.insert(effect.import_key);
  return true;
}

bool FleetLoop::done(const TellLog& effect) {
  switch (effect.level) {
    case LogLevel::Debug:
      log_.debug(effect.message, effect.fields);
      break;
    case LogLevel::Info:
      log_.info(effect.message, effect.fields);
      break;
    case LogLevel::Warn:
      log_.warn(effect.message, effect.fields);
      break;
    case LogLevel::Error:
      log_.error(effect.message, effect.fields);
      break;
  }
  return true;
}

void FleetLoop::tell_strangers() {
  if (channel_->garbage_count() != garbage_seen_) {
    log_.warn("unreadable messages dropped", {{"count", channel_->garbage_count() - garbage_seen_},
                                              {"reason", channel_->last_garbage()}});
    garbage_seen_ = channel_->garbage_count();
  }
  if (channel_->refused_count() != refused_seen_) {
    log_.warn("strangers refused", {{"count", channel_->refused_count() - refused_seen_}});
    refused_seen_ = channel_->refused_count();
  }
}

}  // namespace vmferry
