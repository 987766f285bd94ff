#include "agent/job.h"

#include <algorithm>
#include <utility>

#include "common/bytes.h"

namespace vmferry {
namespace {

constexpr std::chrono::milliseconds kAnswerPatience{60'000};
constexpr std::chrono::seconds kRenewPatience{180};  // with a source that takes its time
constexpr std::chrono::seconds kAskAgain{1};
constexpr std::chrono::seconds kRecent{10};  // how long a healed error explains slowness

protocol::JobPhase phase_of(CopyPhase phase) {
  switch (phase) {
    case CopyPhase::Starting:
      return protocol::JobPhase::Opening;
    case CopyPhase::Copying:
      return protocol::JobPhase::Copying;
    case CopyPhase::Flushing:
      return protocol::JobPhase::Flushing;
    case CopyPhase::Verifying:
    case CopyPhase::Done:  // until both ends are closed it is not done
      return protocol::JobPhase::Verifying;
  }
  return protocol::JobPhase::Copying;
}

Result<HashAlgorithm> hash_from(const std::string& name) {
  for (const HashAlgorithm hash : {HashAlgorithm::Xxh3_128, HashAlgorithm::Sha256}) {
    if (to_string(hash) == name) return hash;
  }
  return make_error(ErrorKind::InvalidArgument, "unknown hash '{}'", name);
}

}  // namespace

Job::Job(protocol::Assign assign, std::vector<std::string> journal, Environment environment)
    : assign_(std::move(assign)),
      journal_(std::move(journal)),
      environment_(std::move(environment)),
      throttle_(*environment_.clock, assign_.limit_bytes_per_second, environment_.agent_throttle),
      fence_(*environment_.clock, environment_.lease_end),
      renewal_([this] { environment_.events->put(JobAsks{assign_.job}); }),
      thread_([this](std::stop_token stop) { run(stop); }) {}

void Job::run(std::stop_token stop) {
  Result<CopyResult> result = Error(ErrorKind::Internal, "the transfer did not run");
  try {
    result = transfer(stop);
  } catch (...) {
    result = caught_error("the transfer broke off");
  }
  environment_.events->put(JobEnded{assign_.job, assign_.attempt, std::move(result), owner_});
}

Result<std::optional<ResumeState>> Job::resume_state() const {
  if (assign_.epoch.empty()) return std::optional<ResumeState>();
  ResumeState state{assign_.epoch, assign_.identity, {}};
  const std::uint64_t chunk_count = round_up(assign_.source.size_bytes, kChunkBytes) / kChunkBytes;
  for (const std::string& part : journal_) {
    std::vector<DurableChunk> chunks = TRY(decode_chunks(part, chunk_count));
    state.chunks.insert(state.chunks.end(), std::make_move_iterator(chunks.begin()),
                        std::make_move_iterator(chunks.end()));
  }
  // A chunk may have come twice; the later report is the one that stands.
  std::stable_sort(state.chunks.begin(), state.chunks.end(),
                   [](const auto& a, const auto& b) { return a.index < b.index; });
  std::size_t kept = 0;
  for (DurableChunk& chunk : state.chunks) {
    if (kept > 0 && state.chunks[kept - 1].index == chunk.index) --kept;
    if (&state.chunks[kept] != &chunk) state.chunks[kept] = std::move(chunk);
    ++kept;
  }
  state.chunks.resize(kept);
  return std::optional<ResumeState>(std::move(state));
}

// The coordinator does not wait for a source that is getting ready: it says so, and is asked again.
Result<DiskEndpoint> Job::renewed(const Error& why, std::stop_token stop) {
  const SteadyTime until = environment_.clock->steady() + kRenewPatience;
  while (true) {
    Result<DiskEndpoint> fresh = renewal_.ask(why, kAnswerPatience, stop);
    const bool passing = !fresh && is_retryable(fresh.error().kind());
    if (!passing || environment_.clock->steady() >= until) return fresh;
    if (!environment_.clock->sleep(kAskAgain, stop)) {
      return Error(ErrorKind::Canceled, "stopped while renewing the ticket");
    }
  }
}

Result<CopyResult> Job::transfer(std::stop_token stop) {
  const JobId job = assign_.job;
  const protocol::Attempt attempt = assign_.attempt;
  Mailbox<JobEvent>& events = *environment_.events;

  // A journal that cannot be read is no reason to fail: what it says is durable is copied again.
  // Its epoch stands all the same, so that no older journal of this node is believed.
  Result<std::optional<ResumeState>> resume = resume_state();
  if (!resume) {
    environment_.log.warn("journal from the coordinator is unusable", resume.error());
    resume = std::optional(ResumeState{assign_.epoch, assign_.identity, {}});
  }
  journal_.clear();

  // The agent of a node could open more there than whoever wrote the import.
  if (environment_.volumes.mode != VolumeRules::Mode::AnyPath &&
      !is_over_the_network(assign_.source)) {
    return make_error(
        ErrorKind::InvalidArgument,
        "the source is a socket or file of this node, which is not read on a cluster");
  }
  SourceEnvironment source_environment = environment_.source;
  source_environment.log = environment_.log;
  source_environment.fingerprint = true;  // every job keeps a journal
  source_environment.renew = [this](const Error& why, std::stop_token token) {
    return renewed(why, token);
  };
  const std::unique_ptr<DiskSource> source =
      TRY(open_source(assign_.source, source_environment, stop));

  CopyOptions options;
  options.workers = static_cast<int>(assign_.workers);
  options.hash =
      assign_.compare_source_digest ? HashAlgorithm::Sha256 : TRY(hash_from(assign_.hash));
  options.verify = assign_.verify ? VerifyMode::ReadBack : VerifyMode::None;
  options.compare_source_digest = assign_.compare_source_digest;

  JournalIdentity identity;
  identity.job = job.value;
  identity.size_bytes = source->size_bytes();
  identity.hash = to_string(options.hash);
  identity.source = source->identity();
  if (!assign_.target.claim_uid.empty()) {
    identity.target.emplace_back("claim", assign_.target.claim_uid);
  }
  const FoundVolume volume =
      TRY(find_volume(assign_.target, source->size_bytes(), environment_.volumes));
  SinkOptions sink_options;
  sink_options.path = volume.path;
  sink_options.name = volume.name;
  sink_options.size_bytes = source->size_bytes();
  sink_options.fence = &fence_;
  struct Holding {  // ends after the target and before the source
    std::atomic<bool>& flag;
    explicit Holding(std::atomic<bool>& holds) : flag(holds) { flag = true; }
    ~Holding() { flag = false; }
  } const holding(holds_target_);
  const TargetOpen target = TRY(open_target(
      sink_options, std::move(identity), environment_.journal_path, *std::move(resume),
      [&events, job, attempt](const std::vector<DurableChunk>& chunks) {
        events.put(JobDurable{job, attempt, chunks});
      },
      {ChangedSource::StartOver, /*will_verify=*/assign_.verify}, &tell_all_, stop));
  if (target.started_over) {
    environment_.log.warn("target is started over", {{"reason", target.reason}});
  }
  // Before any chunk of it: the control loop needs epoch and identity to report them.
  events.put(JobOpened{job, attempt, target.epoch, target.identity, target.started_over});
  opening_ = false;
  CopyResult result =
      TRY(copy_disk(*source, *target.sink, target.journal.get(), &throttle_, options, monitor_,
                    *environment_.clock, environment_.log, stop));
  owner_ = TRY(hand_over(volume));
  if (!owner_.empty()) {
    environment_.log.warn("the disk cannot be given to the virtual machine's user or group (107)",
                          {{"target", volume.name}, {"owner", owner_}});
  }
  return result;
}

protocol::JobStatus Job::status() {
  const CopyProgress progress = monitor_.snapshot();
  const SteadyTime now = environment_.clock->steady();
  protocol::JobStatus status;
  status.job = assign_.job;
  status.attempt = assign_.attempt;
  status.phase = opening_ ? protocol::JobPhase::Opening : phase_of(progress.phase);
  status.virtual_bytes = std::max(progress.virtual_bytes, assign_.source.size_bytes);
  status.to_move_bytes = progress.to_move_bytes;
  status.to_move_final = progress.to_move_final;
  status.moved_bytes = progress.moved_bytes;
  status.resumed_bytes = progress.resumed_bytes;
  status.zero_bytes = progress.zero_bytes;
  status.verified_bytes = progress.verified_bytes;
  status.wire_bytes = progress.source.wire_bytes;
  status.retries = progress.source.retries;
  status.reconnects = progress.source.reconnects;
  status.via = progress.source.via;
  // Bytes that an earlier attempt made durable were not moved now.
  const double moving = moved_rate_.update(
      progress.moved_bytes - std::min(progress.moved_bytes, progress.resumed_bytes), now);
  const double verifying = verified_rate_.update(progress.verified_bytes, now);
  status.bytes_per_second = status.phase == protocol::JobPhase::Verifying ? verifying : moving;
  status.note = note(progress, status.bytes_per_second, now);
  return status;
}

std::string Job::note(const CopyProgress& progress, double rate, SteadyTime now) {
  const std::uint64_t retries = progress.source.retries + progress.source.reconnects;
  if (retries > last_retries_) last_retry_ = now;
  last_retries_ = retries;
  if (renewal_.pending()) return "waiting for fresh credentials of the source";
  if (last_retry_ && now - *last_retry_ < kRecent && !progress.source.last_error.empty()) {
    return "source healed: " + progress.source.last_error;
  }
  if (progress.phase == CopyPhase::Verifying) return "verifying";
  const Throttle* agent = environment_.agent_throttle;
  const auto near = [rate](std::uint64_t limit) {
    return limit > 0 && rate > 0.85 * static_cast<double>(limit);
  };
  if (near(throttle_.rate()))
    return "throttled to " + human_rate(static_cast<double>(throttle_.rate()));
  // The agent's limit is shared by its jobs, so no job reaches it alone.
  if (agent != nullptr && agent->rate() > 0) {
    return "shares the agent's limit of " + human_rate(static_cast<double>(agent->rate()));
  }
  return "";
}

}  // namespace vmferry
