#include "transfer/resume.h"

#include <algorithm>
#include <mutex>

#include "common/catalogue.h"
#include "common/id.h"
#include "transfer/chunks.h"
#include "transfer/digest.h"
#include "transfer/journal_file.h"
#include "transfer/resume_check.h"

namespace vmferry {
namespace {

using OnDurable = std::function<void(const std::vector<DurableChunk>&)>;

// What the local journal file holds, its epoch taken out of the job's name.
struct LocalState {
  std::string epoch;
  JournalIdentity identity;  // job without epoch
  std::vector<DurableChunk> chunks;
};

// What both journals together allow.
struct Trust {
  bool resume = false;
  std::string reason;  // why not
  std::string epoch;
  bool local_continues = false;       // the local file is of this epoch
  std::vector<DurableChunk> chunks;   // durable: the union
  std::vector<DurableChunk> backlog;  // of them, unknown to the coordinator
  std::vector<DurableChunk> adopted;  // of them, unknown to the local file
};

std::string job_with_epoch(const std::string& job, const std::string& epoch) {
  return job + "#" + epoch;
}

LocalState local_state_of(const JournalFile& file) {
  LocalState local{{}, file.identity(), file.durable()};
  const std::size_t mark = local.identity.job.rfind('#');
  if (mark != std::string::npos) {
    local.epoch = local.identity.job.substr(mark + 1);
    local.identity.job.resize(mark);
  }
  return local;
}

Trust distrust(std::string reason) {
  Trust trust;
  trust.reason = std::move(reason);
  return trust;
}

std::string why_text_differs(const std::string& before, const JournalIdentity& now) {
  const Result<JournalIdentity> parsed = identity_from_text(before);
  if (!parsed) return "the recorded identity cannot be read";
  std::string difference = identity_difference(*parsed, now);
  return difference.empty() ? "the recorded identity is written differently" : difference;
}

bool are_sound(const std::vector<DurableChunk>& chunks, const JournalIdentity& identity) {
  const Result<HashAlgorithm> hash = hash_algorithm_from_string(identity.hash);
  if (!hash) return false;
  const std::uint64_t count = chunk_count_of(identity.size_bytes);
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    if (chunks[i].index >= count || chunks[i].digest.size() != leaf_bytes(*hash)) return false;
    if (i > 0 && chunks[i].index <= chunks[i - 1].index) return false;
  }
  return true;
}

// Both lists are sorted. False when they give one chunk two digests.
bool merge(const std::vector<DurableChunk>& local, const std::vector<DurableChunk>& remote,
           Trust& trust) {
  auto a = local.begin();
  auto b = remote.begin();
  while (a != local.end() || b != remote.end()) {
    if (b == remote.end() || (a != local.end() && a->index < b->index)) {
      trust.backlog.push_back(*a);
      trust.chunks.push_back(*a++);
    } else if (a == local.end() || b->index < a->index) {
      trust.adopted.push_back(*b);
      trust.chunks.push_back(*b++);
    } else {
      if (a->digest != b->digest) return false;
      trust.chunks.push_back(*a++);
      ++b;
    }
  }
  return true;
}

// The decision, as a pure function: `now` is the complete identity of source and target as they
// are.
Trust decide(const JournalIdentity& now, const std::optional<LocalState>& local,
             const ResumeState& remote) {
  Trust trust;
  if (remote.epoch.empty()) {  // the local journal alone
    if (!local) return distrust("the target has no journal");
    std::string difference = identity_difference(local->identity, now);
    if (!difference.empty()) return distrust(std::move(difference));
    trust.epoch = local->epoch;
    trust.chunks = local->chunks;
    trust.backlog = local->chunks;
    trust.local_continues = true;
  } else {
    if (remote.identity != identity_text(now))
      return distrust(why_text_differs(remote.identity, now));
    if (!are_sound(remote.chunks, now)) return distrust("the coordinator's journal is damaged");
    trust.epoch = remote.epoch;
    trust.local_continues = local && local->epoch == remote.epoch && local->identity == now;
    // A journal for the very same ends and another epoch: one of the two was started over, and
    // nobody can tell which was the later.
    if (local && !trust.local_continues && local->identity == now) {
      return distrust("the local journal and the coordinator's are of different epochs");
    }
    static const std::vector<DurableChunk> kNone;
    if (!merge(trust.local_continues ? local->chunks : kNone, remote.chunks, trust)) {
      return distrust("the local journal and the coordinator's name different digests");
    }
  }
  // With nothing to keep, a target started anew is as good, and a new file is known to be zero.
  if (trust.chunks.empty()) return distrust(remote.epoch.empty() ? "" : "nothing was durable yet");
  trust.resume = true;
  return trust;
}

// Records locally, then tells the coordinator.
class TeeJournal final : public Journal {
 public:
  TeeJournal(std::unique_ptr<JournalFile> file, Trust trust, OnDurable on_durable,
             std::atomic<bool>* tell_all)
      : file_(std::move(file)),
        resumed_(trust.resume),
        durable_(std::move(trust.chunks)),
        backlog_(std::move(trust.backlog)),
        on_durable_(std::move(on_durable)),
        tell_all_(tell_all) {}

  std::vector<DurableChunk> durable() const override { return durable_; }
  bool resumed() const override { return resumed_; }

  Result<void> record(const std::vector<DurableChunk>& chunks) override {
    const std::lock_guard lock(mutex_);
    if (file_ != nullptr) TRY(file_->record(chunks));
    report(chunks);
    return {};
  }

  Result<void> mark_complete() override {
    const std::lock_guard lock(mutex_);
    report({});
    if (file_ == nullptr) return {};
    return file_->mark_complete();
  }

  void catch_up() override {
    if (tell_all_ == nullptr || !*tell_all_) return;
    const std::lock_guard lock(mutex_);
    report({});
  }

 private:
  void report(const std::vector<DurableChunk>& chunks) {
    if (!on_durable_) return;
    if (file_ != nullptr && tell_all_ != nullptr && tell_all_->exchange(false)) {
      backlog_ = {};
      return on_durable_(file_->durable());  // `chunks` among them
    }
    if (!backlog_.empty()) {
      on_durable_(backlog_);
      backlog_ = {};
    }
    if (!chunks.empty()) on_durable_(chunks);
  }

  std::unique_ptr<JournalFile> file_;
  bool resumed_;
  std::vector<DurableChunk> durable_;
  std::vector<DurableChunk> backlog_;
  OnDurable on_durable_;
  std::atomic<bool>* tell_all_;
  std::mutex mutex_;  // catch_up() comes from another thread than the rest
};

JournalIdentity completed(JournalIdentity identity, const DiskSink& sink) {
  for (auto& pair : sink.identity()) identity.target.push_back(std::move(pair));
  return identity;
}

// Files carry a mark. Of a block device it is often known only how large it is.
bool is_block_device(const DiskSink& sink) {
  return std::ranges::any_of(sink.identity(), [](const auto& pair) {
    return pair.first == "kind" && pair.second == "block";
  });
}

Result<void> check_same_source(const JournalIdentity& before, const JournalIdentity& now) {
  JournalIdentity was = before;  // as far as it is about the source
  was.job = now.job;
  was.hash = now.hash;
  was.target = now.target;
  const std::string difference = identity_difference(was, now);
  if (difference.empty()) return {};
  return coded_error(ErrorKind::DataLoss, code::kSourceChanged,
                     "{}: what the journal describes is of another disk, or of an earlier state",
                     difference);
}

}  // namespace

Result<TargetOpen> open_target(const SinkOptions& options, JournalIdentity identity,
                               const std::string& journal_path,
                               const std::optional<ResumeState>& from_coordinator,
                               OnDurable on_durable, ChangedSource changed,
                               std::atomic<bool>* tell_all) {
  identity.size_bytes = options.size_bytes;
  const ResumeState remote = from_coordinator.value_or(ResumeState{});
  std::unique_ptr<JournalFile> file;
  std::optional<LocalState> local;
  std::string damage;
  if (!journal_path.empty()) {
    file = TRY(JournalFile::open(journal_path));
    if (file->content() == JournalFile::Content::Valid) local = local_state_of(*file);
    if (file->content() == JournalFile::Content::Corrupt) {
      damage = "the journal is corrupt: " + file->damage();
    }
  }

  SinkOptions how = options;
  TargetOpen open;
  Trust trust = distrust(damage);
  bool target_is_gone = false;
  if (local || !remote.epoch.empty()) {
    how.resume = true;
    Result<std::unique_ptr<DiskSink>> sink = open_sink(how);
    if (sink) {
      trust = decide(completed(identity, **sink), local, remote);
      open.sink = *std::move(sink);
      if (trust.resume && is_block_device(*open.sink)) {
        const HashAlgorithm hash = TRY(hash_algorithm_from_string(identity.hash));
        if (!TRY(holds_what_is_recorded(*open.sink, trust.chunks, hash, identity.size_bytes))) {
          trust = distrust("the device does not hold what the journal says it holds");
        }
      }
    } else if (sink.error().kind() == ErrorKind::NotFound ||
               sink.error().kind() == ErrorKind::DataLoss) {
      target_is_gone = sink.error().kind() == ErrorKind::NotFound;
      trust = distrust("target: " + sink.error().message());
    } else {
      return std::move(sink).error();
    }
  }

  if (changed == ChangedSource::Refuse && local && !local->chunks.empty() && !target_is_gone) {
    TRY(check_same_source(local->identity, identity));
  }
  if (!trust.resume) {
    // The journal goes first: a crash in between must not leave one that describes lost content.
    open.sink.reset();
    if (file != nullptr) TRY(file->discard());
    how.resume = false;
    open.sink = TRY(open_sink(how));
    open.started_over = !trust.reason.empty();
    open.reason = trust.reason;
    trust = Trust{};
    trust.epoch = random_hex_id();
  }
  const JournalIdentity now = completed(std::move(identity), *open.sink);
  open.epoch = trust.epoch;
  open.identity = identity_text(now);
  if (file != nullptr && !trust.local_continues) {
    JournalIdentity stored = now;
    stored.job = job_with_epoch(now.job, trust.epoch);
    TRY(file->create(stored));
  }
  if (file != nullptr) TRY(file->record(trust.adopted));
  open.journal = std::make_unique<TeeJournal>(std::move(file), std::move(trust),
                                              std::move(on_durable), tell_all);
  return open;
}

}  // namespace vmferry
