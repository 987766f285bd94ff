#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "transfer/disk_sink.h"
#include "transfer/journal.h"
#include "transfer/open_sink.h"

namespace vmferry {

// The life of a target: from the moment it is started from nothing until it is started over.
// Chunks of one epoch say nothing about another.

// What somebody else (the coordinator) remembers of a target. `identity` is TargetOpen::identity of
// the attempt that reported the chunks, byte for byte.
struct ResumeState {
  std::string epoch;
  std::string identity;
  std::vector<DurableChunk> chunks;  // sorted by index
};

// A target and its journal, opened so that they agree.
struct TargetOpen {
  std::unique_ptr<DiskSink> sink;
  std::unique_ptr<Journal> journal;  // for copy_disk; tees to the file and to `on_durable`
  std::string epoch;                 // random; new whenever the target is started from nothing
  std::string identity;              // canonical text of the completed identity, without the epoch
  bool started_over = false;         // there was something to continue, and it was not trusted
  std::string reason;                // why: "source disk_uuid changed from 'A' to 'B'"; else empty
};

// When the journal describes another state of the source. Refuse leaves target and journal as they
// are, so that a person who named the wrong source loses nothing.
enum class ChangedSource { StartOver, Refuse };

struct ResumeRules {
  ChangedSource changed = ChangedSource::StartOver;
  // All of the target is read back afterwards: one recorded chunk that rotted is mended then, and
  // no reason to start over.
  bool will_verify = false;
};

// Opens sink and journal together and decides between going on and starting over: the only place
// that does. Data on the target is trusted only for chunks of a journal whose epoch and identity
// (job, size, hash, source, target) fit; for anything else the journal is discarded first and the
// target afterwards.
//
// `options.resume` is ignored: this function decides. `identity.job` is the plain job id;
// `identity.target` may hold what the caller knows (a claim's uid) and is completed with
// sink->identity(). `journal_path` empty: no local journal, the coordinator's chunks alone.
// A local journal counts only if its epoch is the coordinator's, or if `from_coordinator` is empty;
// what is durable is then the union of both. A file that is gone, has another size, or two
// journals that contradict each other mean starting over.
//
// `on_durable` (may be empty) gets every chunk that the coordinator does not have yet, from the
// journal's record() on the copier's checkpoint thread, after the chunk is in the local journal;
// beginning with those that only the local journal knew. Each call is of at most 16384 chunks or
// those of one record(). `tell_all` (may be null) set
// to true by anybody: all that are durable are told again, within the second also while nothing new
// becomes durable (catch_up()), and it is reset. One call of on_durable at a time.
//
// A local journal that an earlier attempt made invalid, because the source changed under it, takes
// the coordinator's chunks of its epoch with it.
//
// Errors: as open_sink; Unavailable with VMF-DST-BUSY when journal or target are in use;
// Unavailable with VMF-XFER-JOURNAL-IO when the journal's disk is full or fails; DataLoss with
// VMF-SRC-CHANGED and what changed, for ChangedSource::Refuse; Canceled, with journal and target as
// they were.
Result<TargetOpen> open_target(const SinkOptions& options, JournalIdentity identity,
                               const std::string& journal_path,
                               std::optional<ResumeState> from_coordinator,
                               std::function<void(const std::vector<DurableChunk>&)> on_durable,
                               ResumeRules rules = {}, std::atomic<bool>* tell_all = nullptr,
                               std::stop_token stop = {});

// An identity as JSON text with fixed key order: equal identities have equal texts.
std::string identity_text(const JournalIdentity& identity);
// DataLoss when `text` is not such a text.
Result<JournalIdentity> identity_from_text(std::string_view text);
// The first difference in words, "source disk_uuid changed from 'A' to 'B'"; empty when equal.
std::string identity_difference(const JournalIdentity& before, const JournalIdentity& now);

}  // namespace vmferry
