#pragma once

#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "common/clock.h"
#include "common/guarded.h"
#include "common/log.h"
#include "coordinator/access/subject_access_reviews.h"
#include "coordinator/api/config.h"
#include "coordinator/api/import.h"
#include "coordinator/fleet/fleet.h"
#include "coordinator/imports/decision.h"
#include "coordinator/imports/disk_locks.h"
#include "coordinator/imports/ledger.h"
#include "coordinator/imports/observe.h"
#include "coordinator/imports/outcomes.h"
#include "coordinator/imports/plan.h"
#include "coordinator/imports/progress_pace.h"
#include "coordinator/kube/events.h"
#include "coordinator/kube/reader.h"
#include "coordinator/kube/writer.h"
#include "coordinator/provider/pool.h"
#include "coordinator/provider/provider.h"
#include "coordinator/provider/source_turns.h"
#include "coordinator/volumes/volumes.h"

namespace vmferry::imports {

struct ReconcilerSettings {
  bool embedded = true;  // no KubeVirt runs here: a VM is a manifest, and never "runs"
  std::string config_namespace = "vmferry";
  std::string template_directory = {};           // templates shipped as files; empty: none
  bool vddk = false;                             // read VMware disks through nbdkit's vddk plugin
  std::chrono::seconds stop_limit{300};          // for the source to shut down, then it is told
  std::chrono::seconds undo_limit{1800};         // of a deleted one, for a source that is away
  std::chrono::seconds locked_limit{900};        // for a disk locked by somebody else
  std::chrono::milliseconds status_every{2000};  // at most one progress write in that time
};

// The opened parts that a running transfer's credentials can be renewed from.
struct Renewal {
  std::shared_ptr<Provider> provider;
  SourceVm vm;
  SourceDisk disk;
  std::string handle;
};

// A disk that was made readable in this process.
struct OpenedDisk {
  DiskEndpoint endpoint;
  std::string description;      // how it is read and why; for people
  SourceDisk disk;              // as it was opened, with the way that was asked for
  SourceIdentityText identity;  // what must not change; empty: nothing to compare
  bool identity_checked = false;
  std::string source_host{};  // budget group
  SourceBudget budget{};
  bool elsewhere = false;  // on a server that the import names
};

// What the reconciler works with; owned by the coordinator's main.
struct ReconcilerParts {
  kube::Reader& reader;
  kube::Writer& writer;
  Volumes& volumes;
  Fleet& fleet;
  ProviderPool& providers;
  kube::EventRecorder& events;
  const Clock& clock;
  Logger log;
  ReconcilerSettings settings;
  Guarded<std::map<JobId, Renewal>>& renewals;
  access::SubjectAccessReviews* access = nullptr;  // without a cluster there is nobody to ask
  Outcomes* outcomes = nullptr;                    // null: nobody counts
  std::shared_ptr<DiskLocks> disks = std::make_shared<DiskLocks>();
  ProgressPace* pace = nullptr;  // null: every import as settings say
  SourceTurns* turns = nullptr;  // null: a source may be asked by all at once
};

// A disk that its source does not open yet: since when, and when to ask again.
struct LockedDisk {
  SteadyTime since{}, next_try{};
  int tries = 0;
};

// What is remembered of an import between passes. Losing it costs a read, never correctness.
struct ImportMemory {
  struct SourceTries {
    SteadyTime first{}, last{};
    int count = 0;
  };
  std::optional<SourceVm> vm;
  bool vm_read_after_stop = false;
  SteadyTime power_read{};  // when it was down last
  std::optional<ImportPlan> plan;
  int connection_failures = 0;
  bool stop_asked = false;                // the source was told to shut down
  std::optional<SteadyTime> undo_begun;   // undoing: when its first pass was
  SourceTries source_tries;               // undoing: to clean up the source
  std::optional<SteadyTime> start_asked;  // undoing: when the source was told to start again
  SteadyTime status_written{};
  std::map<std::string, OpenedDisk> openings;  // by source disk id
  // By handle. A lease belongs to the session that asked for it, also when the secret names another
  // account by now.
  std::map<std::string, std::shared_ptr<Provider>> lease_openers;
  std::map<std::string, protocol::Attempt> reopened_after;  // the attempt that used one up
  std::map<std::string, LockedDisk> locked;                 // by source disk id
  std::map<std::string, int> reopened;  // openings that failed, by source disk id
  int idle_passes = 0;                  // on end, in which all disks waited for what is told
  int blocked_passes = 0;               // on end, that found something that blocks the import
  std::int64_t blocked_generation = 0;  // of the import that they found it in
  // Once the import has begun its secret is read now and then only.
  std::optional<ProviderCredentials> credentials;
  SteadyTime credentials_read{};
  std::int64_t credentials_generation = 0;  // of the import that they were read for
  bool credentials_doubted = false;         // an error may have been their fault: read them again
};

// How a step ended: done, or come back later, or the import has failed for good.
struct StepResult {
  enum class Kind { Done, Again, Failed };
  Kind kind = Kind::Done;
  std::chrono::nanoseconds after{};
  std::string reason, event_reason, message;  // Failed

  static StepResult done() { return {}; }
  static StepResult again(std::chrono::nanoseconds after) {
    return {.kind = Kind::Again, .after = after, .reason = {}, .event_reason = {}, .message = {}};
  }
  static StepResult failed(std::string_view reason, std::string_view event_reason,
                           const Error& error);
};

// One pass over one import: the object as read, what is known of its source, and the writes that
// every step needs. Belongs to one worker.
class Pass {
 public:
  Pass(ReconcilerParts& parts, api::VirtualMachineImport import, Ledger ledger,
       ImportMemory& memory, std::stop_token stop);

  ReconcilerParts& parts;
  api::VirtualMachineImport import;
  Ledger ledger;
  ImportMemory& memory;
  std::stop_token stop;
  Logger log;

  // Filled by the early steps. The turn is held until the pass ends.
  std::optional<SourceTurns::Turn> turn;
  std::optional<std::chrono::nanoseconds> turn_after;  // there is none before
  std::shared_ptr<Provider> provider;
  std::optional<ProviderCredentials> credentials;
  ReferenceRights rights;
  std::optional<ImportDecision> decision;  // validated and not blocked

  const kube::ObjectKey& key() const { return key_; }
  const std::string& uid() const { return uid_; }
  ProviderKind provider_kind() const;
  const api::SourceSection& source() const;
  JobId job_of(const PlannedDisk& disk) const { return JobId{uid_ + "/" + disk.claim}; }
  kube::OwnerReference owner() const;
  // Controlled by this import; or let go by it already and by nobody else's hand since.
  bool is_own_vm(const kube::Object& vm) const;

  ObservationScope scope() const;
  // Puts the findings into the status (the worst first, bounded) and into the log.
  void report_findings(const std::vector<Finding>& findings);
  void set_condition(std::string_view type, std::string_view status, std::string_view reason,
                     std::string_view message);
  void set_processing(std::string_view reason, std::string_view message) {
    set_condition("Processing", "True", reason, message);
  }
  void event(kube::EventSeverity severity, std::string_view reason, std::string_view message);

  // A person can mend it, and the import goes on by itself. Without a cluster such errors end the
  // import: who runs vmferry there sees it at once.
  bool waits_for(const Error& error) const;
  // An error that will be tried again, before or after the import has begun; and that it is over.
  void show_trouble(const Error& error);
  void clear_trouble();
  void clear_pending();

  // Writes the status if it changed; a mere change of counters not more often than settings allow.
  // InvalidArgument with VMF-K8S-CRD when the server drops what its CRD does not know.
  Result<void> save_status(bool urgent);
  Result<void> raise_progress(int percent);
  Result<void> save_ledger();
  // Removes what another import wrote about itself into the object that this one was made from.
  Result<void> forget_other_import();
  // Makes an object of the import's namespace; of another one it is refused (InvalidArgument),
  // whatever a plan or a template says.
  Result<kube::Object> create(const kube::ResourceType& type, const kube::Object& object,
                              const kube::WriteOptions& options = {});
  Result<void> annotate(std::string_view name, std::string_view value);
  Result<void> add_finalizer(std::string_view name);
  Result<void> drop_finalizers(const std::vector<std::string_view>& names);

 private:
  Result<void> patch(const nlohmann::json& merge_patch);

  kube::ObjectKey key_;
  std::string uid_;
  nlohmann::json written_status_;
};

}  // namespace vmferry::imports
