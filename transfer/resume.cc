#include "transfer/resume.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "common/catalogue.h"
#include "common/id.h"
#include "transfer/chunks.h"
#include "transfer/digest.h"
#include "transfer/journal_file.h"
#include "transfer/resume_check.h"

namespace vmferry {
namespace {

using OnDurable = std::function<void(const std::vector<DurableChunk>&)>;

constexpr std::size_t kChunksAtOnce = 16384;  // what on_durable gets with one call

// The local journal file, its epoch taken out of the job's name.
struct LocalState {
  const JournalFile& file;
  std::string epoch;
  JournalIdentity identity;  // job without epoch
};

// What both journals together allow.
struct Trust {
  bool resume = false;
  std::string reason;  // why not
  std::string epoch;
  bool local_continues = false;       // the local file is of this epoch
  std::vector<DurableChunk> adopted;  // durable, and known to the coordinator alone
  std::vector<bool> backlog;          // by chunk: durable, and known to the local file alone
  std::vector<DurableChunk> samples;  // some of all
};

std::string job_with_epoch(const std::string& job, const std::string& epoch) {
  return job + "#" + epoch;
}

LocalState local_state_of(const JournalFile& file) {
  LocalState local{file, {}, file.identity()};
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

// Both are sorted. False when they give one chunk two digests, or have none.
Result<bool> merge(const JournalFile* local, std::vector<DurableChunk> remote,
                   const JournalIdentity& now, Trust& trust) {
  const HashAlgorithm hash = TRY(hash_algorithm_from_string(now.hash));
  ChunkSamples samples = TRY(ChunkSamples::make(hash));
  trust.backlog.resize(local == nullptr ? 0 : chunk_count_of(now.size_bytes));
  auto next = remote.begin();
  const auto adopt = [&] {
    samples.add(next->index, next->digest);
    trust.adopted.push_back(std::move(*next++));
  };
  bool agree = true;
  if (local != nullptr) {
    TRY(local->for_each_durable(
        [&](std::uint64_t index, std::span<const std::byte> digest) -> Result<void> {
          while (next != remote.end() && next->index < index) adopt();
          if (next == remote.end() || next->index != index) {
            trust.backlog[index] = true;
          } else {
            agree = agree && std::ranges::equal(next->digest, digest);
            ++next;
          }
          samples.add(index, digest);
          return {};
        }));
  }
  while (next != remote.end()) adopt();
  trust.samples = samples.chunks();
  return agree;
}

constexpr std::string_view kInvalid =
    "the source changed while an earlier attempt copied it, so what that one wrote fits no moment";

// The decision. `now` is the complete identity of source and target as they are.
Result<Trust> decide(const JournalIdentity& now, const std::optional<LocalState>& local,
                     ResumeState remote) {
  Trust trust;
  const JournalFile* file = nullptr;
  if (remote.epoch.empty()) {  // the local journal alone
    if (!local) return distrust("the target has no journal");
    std::string difference = identity_difference(local->identity, now);
    if (!difference.empty()) return distrust(std::move(difference));
    if (local->file.invalid()) return distrust(std::string(kInvalid));
    trust.epoch = local->epoch;
    trust.local_continues = true;
    remote.chunks.clear();
  } else {
    if (remote.identity != identity_text(now))
      return distrust(why_text_differs(remote.identity, now));
    if (!are_sound(remote.chunks, now)) return distrust("the coordinator's journal is damaged");
    if (local && local->file.invalid() && local->epoch == remote.epoch) {
      return distrust(std::string(kInvalid));
    }
    trust.epoch = remote.epoch;
    trust.local_continues = local && local->epoch == remote.epoch && local->identity == now;
    // A journal for the very same ends and another epoch: one of the two was started over, and
    // nobody can tell which was the later.
    if (local && !trust.local_continues && local->identity == now) {
      return distrust("the local journal and the coordinator's are of different epochs");
    }
  }
  if (trust.local_continues) file = &local->file;
  const bool any = !remote.chunks.empty() || (file != nullptr && file->has_chunks());
  // With nothing to keep, a target started anew is as good, and a new file is known to be zero.
  if (!any) return distrust(remote.epoch.empty() ? "" : "nothing was durable yet");
  if (!TRY(merge(file, std::move(remote.chunks), now, trust))) {
    return distrust("the local journal and the coordinator's name different digests");
  }
  trust.resume = true;
  return trust;
}

// Records locally, then tells the coordinator. The chunks themselves are in the file, and in memory
// only where there is none.
class TeeJournal final : public Journal {
 public:
  TeeJournal(std::unique_ptr<JournalFile> file, Trust trust, OnDurable on_durable,
             std::atomic<bool>* tell_all)
      : file_(std::move(file)),
        resumed_(trust.resume),
        without_file_(file_ == nullptr ? std::move(trust.adopted) : std::vector<DurableChunk>()),
        backlog_(std::move(trust.backlog)),
        on_durable_(std::move(on_durable)),
        tell_all_(tell_all) {}

  bool resumed() const override { return resumed_; }

  Result<void> restore(const EachChunk& each) override {
    const std::lock_guard lock(mutex_);
    if (file_ != nullptr) return file_->for_each_durable(each);
    for (const DurableChunk& chunk : std::exchange(without_file_, {})) {
      TRY(each(chunk.index, chunk.digest));
    }
    return {};
  }

  Result<void> record(const std::vector<DurableChunk>& chunks) override {
    const std::lock_guard lock(mutex_);
    if (file_ != nullptr) TRY(file_->record(chunks));
    return report(chunks);
  }

  // The coordinator goes on believing them: its transfers are all read back before they count.
  Result<void> forget(const std::vector<std::uint64_t>& chunks) override {
    const std::lock_guard lock(mutex_);
    if (file_ == nullptr) return {};
    return file_->forget(chunks);
  }

  // The coordinator goes on believing it as well, until the mark in the file meets its epoch.
  Result<void> invalidate() override {
    const std::lock_guard lock(mutex_);
    on_durable_ = {};
    if (file_ == nullptr) return {};
    return file_->invalidate();
  }

  Result<void> mark_complete() override {
    const std::lock_guard lock(mutex_);
    TRY(report({}));
    if (file_ == nullptr) return {};
    return file_->mark_complete();
  }

  void catch_up() override {
    if (tell_all_ == nullptr || !*tell_all_) return;
    const std::lock_guard lock(mutex_);
    (void)report({});  // of a file that cannot be read record() tells
  }

 private:
  Result<void> report(const std::vector<DurableChunk>& chunks) {
    if (!on_durable_) return {};
    const bool all = file_ != nullptr && tell_all_ != nullptr && tell_all_->exchange(false);
    if (all || !backlog_.empty()) TRY(tell_from_file(all));
    backlog_ = {};
    if (!all && !chunks.empty()) on_durable_(chunks);  // all: `chunks` were among them
    return {};
  }

  Result<void> tell_from_file(bool all) {
    std::vector<DurableChunk> some;
    TRY(file_->for_each_durable(
        [&](std::uint64_t index, std::span<const std::byte> digest) -> Result<void> {
          if (!all && !backlog_[index]) return {};
          some.push_back({index, {digest.begin(), digest.end()}});
          if (some.size() < kChunksAtOnce) return {};
          on_durable_(some);
          some.clear();
          return {};
        }));
    if (!some.empty()) on_durable_(some);
    return {};
  }

  std::unique_ptr<JournalFile> file_;
  bool resumed_;
  std::vector<DurableChunk> without_file_;  // until restored
  std::vector<bool> backlog_;               // empty: told
  OnDurable on_durable_;
  std::atomic<bool>* tell_all_;
  std::mutex mutex_;  // catch_up() comes from another thread than the rest
};

// As a journal gives it back: what is no UTF-8 is written with other characters.
Result<JournalIdentity> as_written(const JournalIdentity& identity) {
  return identity_from_text(identity_text(identity));
}

Result<JournalIdentity> completed(JournalIdentity identity, const DiskSink& sink) {
  for (auto& pair : sink.identity()) identity.target.push_back(std::move(pair));
  return as_written(identity);
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
                               std::optional<ResumeState> from_coordinator, OnDurable on_durable,
                               ResumeRules rules, std::atomic<bool>* tell_all,
                               std::stop_token stop) {
  identity.size_bytes = options.size_bytes;
  identity = TRY(as_written(identity));
  ResumeState remote = std::move(from_coordinator).value_or(ResumeState{});
  std::unique_ptr<JournalFile> file;
  std::optional<LocalState> local;
  std::string damage;
  if (!journal_path.empty()) {
    file = TRY(of_journal(JournalFile::open(journal_path)));
    if (file->content() == JournalFile::Content::Valid) local.emplace(local_state_of(*file));
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
      const JournalIdentity now = TRY(completed(identity, **sink));
      trust = TRY(decide(now, local, std::move(remote)));
      open.sink = *std::move(sink);
      if (trust.resume) {
        const HashAlgorithm hash = TRY(hash_algorithm_from_string(identity.hash));
        if (!TRY(holds_what_is_recorded(*open.sink, trust.samples, hash, identity.size_bytes,
                                        rules.will_verify ? 1 : 0, stop))) {
          trust = distrust("the target does not hold what the journal says it holds");
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

  if (rules.changed == ChangedSource::Refuse && local && file->has_chunks() && !target_is_gone) {
    TRY(check_same_source(local->identity, identity));
  }
  if (!trust.resume) {
    // The journal goes first: a crash in between must not leave one that describes lost content. An
    // invalid one describes none, and its mark must last until the target is started over.
    open.sink.reset();
    if (file != nullptr && !file->invalid()) TRY(of_journal(file->discard()));
    how.resume = false;
    open.sink = TRY(open_sink(how));
    open.started_over = !trust.reason.empty();
    open.reason = trust.reason;
    trust = Trust{};
    trust.epoch = random_hex_id();
  }
  const JournalIdentity now = TRY(completed(std::move(identity), *open.sink));
  open.epoch = trust.epoch;
  open.identity = identity_text(now);
  if (file != nullptr && !trust.local_continues) {
    JournalIdentity stored = now;
    stored.job = job_with_epoch(now.job, trust.epoch);
    TRY(of_journal(file->create(stored)));
  }
  if (file != nullptr) TRY(of_journal(file->record(trust.adopted)));
  open.journal = std::make_unique<TeeJournal>(std::move(file), std::move(trust),
                                              std::move(on_durable), tell_all);
  return open;
}

}  // namespace vmferry
