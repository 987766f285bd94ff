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

FleetLoop::FleetLoop(Fleet::Options options, JournalStore store, std::vector<JobRecord> records,
                     std::unique_ptr<CoordinatorChannel> channel, const Clock& clock,
                     const Logger& log)
    : clock_(clock),
      log_(log),
      changed_(options.changed),
      gate_(options.gate),
      welcome_{protocol::kVersion, random_hex_id(), options.heartbeat_every, options.lease},
      store_(std::move(store)),
      channel_(std::move(channel)),
      address_(channel_->address()),
      table_(table_options(options, welcome_), std::move(records), clock.steady()),
      renewals_(options.renew, log, answers_),
      thread_([this](std::stop_token stop) { run(stop); }) {}

FleetLoop::~FleetLoop() {
  thread_.request_stop();
  wake_.signal();
}

void FleetLoop::run(std::stop_token stop) {
  SteadyTime last_tick{};
  const std::vector<int> wake_fds{wake_.get(), answers_.wake_fd(), passes_->wake_fd()};
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
      Effects effects;
      std::vector<Received> questions;
      {
        const std::lock_guard lock(mutex_);
        const SteadyTime now = clock_.steady();
        for (const Received& message : *received) hear(message, now, questions);
        if (gate_ != nullptr) hear_gate(now);
        late = now - last_tick < kLeastTick;
        if (!late) {
          last_tick = now;
          table_.tick(now, effects_);
        }
        effects.swap(effects_);
      }
      for (const Received& question : questions) ask_gate(question);
      carry_out(std::move(effects));
      for (RenewalAnswer& answer : answers_.take_all()) send(answer.peer, answer.renewed);
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
    if (!job.empty() && failed.contains(job)) continue;
    if (!carry_out_one(effect) && !job.empty()) failed.insert(job);
  }
  for (const std::string& import_key : std::exchange(changes_, {})) changed_(import_key);
}

bool FleetLoop::carry_out_one(Effect& effect) {
  return std::visit([this](auto& e) { return done(e); }, effect);
}

bool FleetLoop::done(const SaveRecord& effect) {
  const Result<void> saved = store_.save(effect.record);
  if (!saved) log_.error("cannot store a job", saved.error(), {{"job", effect.record.job.value}});
  return saved.ok();
}

bool FleetLoop::done(const RemoveJob& effect) {
  const Result<void> removed = store_.remove(effect.job);
  if (!removed) log_.error("cannot remove a job", removed.error(), {{"job", effect.job.value}});
  return removed.ok();
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
  Result<JournalStore::Stored> stored = store_.journal(assign.job);
  if (!stored) {
    log_.warn("journal is unusable; the disk is copied anew", stored.error(),
              {{"job", assign.job.value}});
    stored = JournalStore::Stored{};
  }
  assign.epoch = stored->epoch;
  assign.identity = stored->identity;
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
  if (const Result<void> stored = store_.append(update); !stored) {
    log_.warn("cannot store a journal", stored.error(), {{"job", update.job.value}});
    return true;  // not acknowledged, so it comes again
  }
  send(effect.peer, protocol::JournalAck{update.job, update.attempt, update.sequence});
  return true;
}

bool FleetLoop::done(const DistrustTarget& effect) {
  const Result<void> result = store_.distrust(effect.job);
  if (!result) log_.error("cannot reset a journal", result.error(), {{"job", effect.job.value}});
  return result.ok();
}

bool FleetLoop::done(AskRenewal& effect) {
  renewals_.ask(std::move(effect.peer), std::move(effect.request));
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
