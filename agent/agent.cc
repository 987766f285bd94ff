#include "agent/agent.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

#include "common/bytes.h"
#include "common/catalogue.h"
#include "common/fd.h"
#include "transfer/sources/nbdkit_probe.h"

// The loop and what it sends. What it does with messages and events: agent_messages.cc,
// agent_jobs.cc.
namespace vmferry {
namespace {

constexpr std::chrono::milliseconds kHelloEvery{1000};
constexpr std::chrono::milliseconds kFarewell{2800};     // the promise is 3 s
constexpr std::chrono::milliseconds kFencingTime{2500};  // copy_disk stops within 2 s
constexpr std::chrono::hours kKeepJournals{14 * 24};
constexpr std::chrono::seconds kKeyCheckEvery{10};
constexpr std::size_t kMaxTokenBytes = 64u << 10;
constexpr std::size_t kMaxKeyBytes = 256;
constexpr const char* kBuild = "vmferry 0.1.0";

Result<std::string> read_trimmed(const std::string& path, std::size_t most) {
  std::string text = TRY(read_file(path, most));
  while (!text.empty() && static_cast<unsigned char>(text.back()) <= ' ') text.pop_back();
  return text;
}

double load_average() {
  std::array<double, 1> load{};
  return ::getloadavg(load.data(), 1) == 1 ? load[0] : 0;
}

// Asked once: whoever installs VDDK or nbdkit later starts the agent again.
bool can_read_vddk(const AgentOptions& options, const Logger& log) {
  if (options.vddk_libdir.empty() && options.vddk_stand_in.empty()) return false;
  SourceEnvironment environment;
  environment.nbdkit_program = options.nbdkit_program;
  environment.vddk_libdir = options.vddk_libdir;
  environment.vddk_stand_in = options.vddk_stand_in;
  const Result<void> usable = check_vddk(environment, {});
  if (!usable) log.error("VDDK cannot be used; disks are read in other ways", usable.error());
  return usable.ok();
}

}  // namespace

Agent::Agent(AgentOptions options, JobStore store, std::unique_ptr<AgentChannel> channel,
             const Clock& clock, const Logger& log)
    : options_(std::move(options)),
      store_(std::move(store)),
      channel_(std::move(channel)),
      clock_(clock),
      log_(log.with({{"agent", options_.id.value}})),
      incarnation_(random_hex_id()),
      vddk_(can_read_vddk(options_, log_)),
      throttle_(clock, options_.limit_bytes_per_second),
      health_(options_.health_file) {}

Result<std::unique_ptr<Agent>> Agent::create(AgentOptions options, const Clock& clock,
                                             const Logger& log) {
  if (options.id.empty()) return Error(ErrorKind::InvalidArgument, "an agent needs an id");
  if (options.slots == 0) return Error(ErrorKind::InvalidArgument, "an agent needs a slot");
  JobStore store = TRY(JobStore::open(options.state_directory));
  const int pruned = TRY(store.prune(kKeepJournals));
  if (pruned > 0) log.info("old journals removed", {{"count", pruned}});
  std::unique_ptr<AgentChannel> channel = TRY(AgentChannel::connect(
      {.address = options.coordinator, .server_key = options.server_key, .keys = options.keys}));
  return std::unique_ptr<Agent>(
      new Agent(std::move(options), std::move(store), std::move(channel), clock, log));
}

Result<void> Agent::run(std::stop_token stop) {
  const WakeFd stop_fd;
  const std::stop_callback wake(stop, [&] { stop_fd.signal(); });
  const std::vector<int> always{events_.wake_fd(), stop_fd.get()};
  const std::vector<int> leaving{events_.wake_fd()};  // stop_fd stays readable
  log_.info("agent started", {{"node", options_.node}});
  while (true) {
    const std::vector<protocol::Message> messages =
        TRY(channel_->receive(timeout(), leaving_ ? leaving : always));
    for (const protocol::Message& message : messages) handle(message);
    for (JobEvent& event : events_.take_all()) {
      std::visit([this](auto&& e) { on(std::forward<decltype(e)>(e)); }, std::move(event));
    }
    if (channel_->garbage_count() != garbage_seen_) {
      garbage_seen_ = channel_->garbage_count();
      log_.warn("unreadable message dropped", {{"reason", channel_->last_garbage()}});
    }
    if (stop.stop_requested()) leave();
    TRY(check_server_key());
    tick();
    tell_health();
    if (stopping_ && farewell_done()) return {};
  }
}

// First what runs may end, and nothing new begins; then what is left stops.
void Agent::leave() {
  const SteadyTime now = clock_.steady();
  if (stopping_) return;
  if (!leaving_) {
    leaving_ = now;
    next_heartbeat_ = now;  // the coordinator hears at once that there are no free slots
    log_.info("agent leaves", {{"jobs", static_cast<int>(busy_slots())}});
  }
  if (busy_slots() > 0 && now - *leaving_ < options_.drain_time) return;
  stopping_ = now;
  log_.info("agent stops", {{"jobs", static_cast<int>(busy_slots())}});
  for (auto& [job, task] : tasks_) {
    task.next.reset();
    stop_task(task, StopReason::AgentStops);
  }
}

void Agent::tell_health() {
  const SteadyTime boot = clock_.boot();
  const bool connected = !coordinator_.empty() && lease_.valid(boot);
  const Result<void> told = health_.tell(connected, boot);
  if (!told && !health_failed_) log_.error("the probes will not find us well", told.error());
  health_failed_ = !told;
}

std::chrono::milliseconds Agent::timeout() const {
  const SteadyTime now = clock_.steady();
  SteadyTime next = coordinator_.empty() ? hello_sent_ + kHelloEvery : next_heartbeat_;
  if (lease_.end() && busy_slots() > 0 && !fenced_) {
    next = std::min(next, now + (*lease_.end() - clock_.boot()));  // the lease is in boot time
  }
  if (leaving_) next = std::min(next, now + std::chrono::milliseconds(50));
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(next - now);
  return std::clamp(wait, std::chrono::milliseconds(0), std::chrono::milliseconds(1000));
}

bool Agent::farewell_done() const {
  // Outcomes stay until the coordinator stored them; without it, it will learn from our absence.
  return tasks_.empty() || clock_.steady() - *stopping_ > kFarewell;
}

void Agent::tick() {
  const SteadyTime now = clock_.steady();
  check_lease();
  if (coordinator_.empty()) {
    if (now >= hello_sent_ + kHelloEvery) say_hello();
    return;
  }
  if (now >= next_heartbeat_) {
    next_heartbeat_ = now + heartbeat_every_;
    say_heartbeat();
    for (auto& [job, task] : tasks_) report(task);
  }
}

void Agent::check_lease() {
  const SteadyTime now = clock_.boot();
  if (lease_.valid(now)) {
    fenced_ = false;
    return;
  }
  parts_.clear();  // no assignment is taken without a lease, and all of it is sent again
  const auto any = [this](auto&& has) {
    return std::any_of(tasks_.begin(), tasks_.end(), [&](const auto& t) {
      return t.second.job != nullptr && has(*t.second.job);
    });
  };
  if (!any([](const Job&) { return true; })) return;
  if (!fenced_) {
    fenced_ = true;
    log_.warn("lost the coordinator; jobs stop writing",
              {{"jobs", static_cast<int>(busy_slots())}});
    for (auto& [job, task] : tasks_) {
      task.next.reset();
      stop_task(task, StopReason::LeaseLost);
    }
  } else if (lease_.end() && now > *lease_.end() + kFencingTime &&
             any([](const Job& job) { return job.holds_target(); })) {
    // One that only waits for its source to say goodbye writes nothing any more.
    log_.error("a job does not stop writing after the lease; leaving");
    if (!options_.cannot_fence) std::_Exit(70);
    options_.cannot_fence();
  }
}

void Agent::say_hello() {
  hello_sent_ = clock_.steady();
  hello_outstanding_ = true;
  protocol::Hello hello;
  hello.agent = options_.id;
  hello.incarnation = incarnation_;
  hello.node = options_.node;
  hello.token = token();
  hello.slots = options_.slots;
  hello.jobs = statuses();
  hello.build = kBuild;
  hello.vddk = vddk_;
  send(hello);
}

// A token that cannot be read is told by the coordinator's silence and by our log.
std::string Agent::token() const {
  if (options_.token_file.empty()) return "";
  Result<std::string> token = read_trimmed(options_.token_file, kMaxTokenBytes);
  if (token) return *std::move(token);
  log_.error("cannot read the service-account token", token.error());
  return "";
}

// A coordinator that was installed anew has another key, and cannot tell us: CURVE is silent.
Result<void> Agent::check_server_key() {
  const SteadyTime now = clock_.steady();
  if (options_.server_key_file.empty() || now < next_key_check_) return {};
  next_key_check_ = now + kKeyCheckEvery;
  if (!coordinator_.empty() && lease_.valid(clock_.boot())) return {};
  const Result<std::string> key = read_trimmed(options_.server_key_file, kMaxKeyBytes);
  if (!key || *key == options_.server_key) return {};
  return Error(ErrorKind::Unavailable, "the coordinator has another key by now");
}

void Agent::say_heartbeat() {
  protocol::Heartbeat heartbeat;
  heartbeat.agent = options_.id;
  heartbeat.incarnation = incarnation_;
  const bool full = draining_ || leaving_ || busy_slots() >= options_.slots;
  heartbeat.free_slots = full ? 0 : options_.slots - busy_slots();
  heartbeat.load = load_average();
  heartbeat.jobs = statuses();
  for (const protocol::JobStatus& status : heartbeat.jobs) {
    if (status.phase == protocol::JobPhase::Copying) {
      heartbeat.bytes_per_second += status.bytes_per_second;
    }
  }
  heartbeat.sequence = ++heartbeat_sequence_;
  lease_.sent(heartbeat.sequence, clock_.boot());
  send(heartbeat);
}

std::vector<protocol::JobStatus> Agent::statuses() {
  std::vector<protocol::JobStatus> all;
  for (auto& [job, task] : tasks_) {
    if (task.job) task.status = task.job->status();
    all.push_back(task.status);
  }
  return all;
}

void Agent::report(Task& task) {
  const SteadyTime now = clock_.steady();
  for (const protocol::JournalUpdate& update : task.outbox.due(now, task.outcome.has_value())) {
    send(update);
  }
  if (task.outcome) send(*task.outcome);
  if (!task.job) return;
  if (const std::optional<Renewal::Question> question = task.job->renewal().pending()) {
    send(protocol::RenewRequest{task.job->id(), task.attempt, question->sequence, question->why});
  }
}

// A message that does not leave is no failure: everything is said again with the next heartbeat.
void Agent::send(const protocol::Message& message) {
  if (const Result<void> sent = channel_->send(message); !sent) {
    log_.debug("message not sent",
               {{"kind", protocol::kind_of(message)}, {"error", sent.error().message()}});
  }
}

std::uint32_t Agent::busy_slots() const {
  return static_cast<std::uint32_t>(std::count_if(
      tasks_.begin(), tasks_.end(), [](const auto& t) { return t.second.job || t.second.next; }));
}

void Agent::apply_limit(std::uint64_t asked) {
  const std::uint64_t own = options_.limit_bytes_per_second;
  throttle_.set_rate(own == 0 || asked == 0 ? std::max(own, asked) : std::min(own, asked));
}

}  // namespace vmferry
