#include "common/catalogue.h"
#include "coordinator/imports/disk_openings.h"
#include "coordinator/imports/steps.h"

namespace vmferry::imports {
namespace {

// How long a guest may take to begin the shutdown that it was asked for.
constexpr std::chrono::seconds kShutdownGrace{60};
// How long a source that has taken the request to start may be down still.
constexpr std::chrono::seconds kStartPatience{30};
// Between two tries: each takes minutes at a source that hangs.
constexpr std::chrono::minutes kLongestPause{10};
// Before a source is given up, whatever the clocks say.
constexpr int kLeastTries = 5;

// Transfers end first: nothing else may be removed while an agent could still write.
bool stop_transfers(Pass& pass, std::string& waits_for) {
  bool all_stopped = true;
  for (const PlannedDisk& disk : pass.memory.plan->disks) {
    pass.parts.renewals.lock()->erase(pass.job_of(disk));
    if (pass.parts.fleet.cancel(pass.job_of(disk))) continue;
    all_stopped = false;
    const auto view = pass.parts.fleet.transfer(pass.job_of(disk));
    waits_for = fmt::format("agent '{}' to stop writing to claim '{}'",
                            view ? view->agent : std::string(), disk.claim);
  }
  return all_stopped;
}

// True once it is gone, and its instance with it.
Result<bool> remove_vm(Pass& pass, std::string& waits_for) {
  const kube::ObjectKey key{pass.key().ns, pass.memory.plan->vm_name};
  if (key.name.empty()) return true;
  const auto vm =
      TRY(kube::get_if_exists(pass.parts.reader, kube::types::kVirtualMachine, key, pass.stop));
  if (!vm || !pass.is_own_vm(*vm)) return true;
  waits_for = fmt::format("VirtualMachine '{}' to be gone", key.to_string());
  if (vm->deleting()) return false;
  const auto removed =
      pass.parts.writer.remove(kube::types::kVirtualMachine, key, kube::Propagation::Background,
                               {.uid = vm->uid(), .resource_version = {}}, pass.stop);
  if (!removed && removed.error().kind() != ErrorKind::NotFound) return removed.error();
  return false;
}

Result<bool> remove_claims(Pass& pass, std::string& waits_for) {
  for (const PlannedDisk& disk : pass.memory.plan->disks) {
    const kube::ObjectKey claim{pass.key().ns, disk.claim};
    if (!TRY(pass.parts.volumes.release(claim, pass.stop))) {
      waits_for = fmt::format("claim '{}' to be let go of by what writes to it", claim.to_string());
      return false;
    }
    TRY(pass.parts.volumes.remove_claim(claim, pass.uid(), pass.stop));
  }
  return true;
}

// Ends what was opened at the source, entry by entry, each crossed off as it is gone. One that the
// source does not let go of is no reason to leave the others open.
Result<bool> close_openings(Pass& pass, std::string& waits_for) {
  const auto openings = pass.ledger.openings;
  std::optional<Error> refused;
  for (const auto& entry : openings) {
    const std::string& disk = entry.first;
    auto released = release_opening(pass, disk, false);
    if (!released) {
      Error error = std::move(released).error().with_context(fmt::format("disk '{}'", disk));
      if (is_retryable(error.kind()) || error.kind() == ErrorKind::Canceled) return error;
      refused = std::move(error);
    } else if (!*released) {
      waits_for = fmt::format("the source to close disk '{}'", disk);
    } else {
      pass.ledger.openings.erase(disk);
      TRY(pass.save_ledger());
    }
  }
  if (refused) return *std::move(refused);
  return pass.ledger.openings.empty();
}

Result<bool> restore_power(Pass& pass, std::string& waits_for) {
  if (!pass.import.object.has_finalizer(api::kRestoreFinalizer)) return true;
  const std::string& id = pass.memory.plan->source_native_id;
  // Without its id it was not asked to stop: that is written down before.
  if (pass.import.object.annotation(api::kInitialState) == "up" && !id.empty()) {
    // A shutdown that we asked for may still be under way: starting is only right once it is down.
    const auto state = pass.provider->power_state(id, pass.stop);
    if (!state && state.error().code() == code::kVmNotFound) {
      pass.event(kube::EventSeverity::Warning, "SourceNotRestored",
                 "The source VM was running before the import and cannot be started again: " +
                     state.error().message());
      TRY(pass.drop_finalizers({api::kRestoreFinalizer}));
      return true;
    }
    if (!state) return state.error();
    const PowerState power = *state;
    waits_for = fmt::format("the source VM, which is {}, to run again", to_string(power));
    if (power == PowerState::Changing) return false;
    const auto asked_at = parse_rfc3339(pass.ledger.stop_requested_at);
    const bool may_still_stop = asked_at && pass.parts.clock.wall() - *asked_at < kShutdownGrace;
    if (power == PowerState::Up && may_still_stop && !pass.memory.start_asked) {
      waits_for = "the source VM to shut down, as it was asked to, before it is started again";
      return false;
    }
    if (power != PowerState::Up) {
      const SteadyTime now = pass.parts.clock.steady();
      const auto asked = pass.memory.start_asked;
      if (asked && now - *asked < kStartPatience) return false;
      auto started = pass.provider->start(id, pass.stop);
      if (!started && started.error().code() == code::kDiskLocked) {
        waits_for = text_with_remedy(started.error());
        return false;
      }
      if (!started) return std::move(started).error();
      // Taken is not done: a start that fails later leaves it down, and is asked for again.
      pass.memory.start_asked = now;
      return false;
    }
    pass.event(kube::EventSeverity::Normal, "SourceRestored", "The source VM was started again");
  }
  TRY(pass.drop_finalizers({api::kRestoreFinalizer}));
  return true;
}

// A source is asked for as long as it is asked without a long pause. There is one where the process
// was stopped, or what it runs on.
void count_try(Pass& pass) {
  const SteadyTime now = pass.parts.clock.steady();
  ImportMemory::SourceTries& tries = pass.memory.source_tries;
  if (tries.count == 0 || now - tries.last > kLongestPause) tries = {.first = now};
  tries.last = now;
  ++tries.count;
}

Result<bool> clean_source(Pass& pass, std::string& waits_for) {
  if (pass.ledger.openings.empty() && !pass.import.object.has_finalizer(api::kRestoreFinalizer)) {
    return true;
  }
  const auto obtained = obtain_provider(pass);
  // Who only stands in line has not asked it.
  const bool is_in_line = obtained && *obtained && (*obtained)->why.empty();
  if (!is_in_line) count_try(pass);
  if (!obtained) return obtained.error();
  if (const auto& wait = *obtained) {
    waits_for = is_in_line ? "its turn to ask the source" : "the source: " + wait->why;
    pass.turn_after = wait->after;
    return false;
  }
  if (!TRY(close_openings(pass, waits_for))) return false;
  return restore_power(pass, waits_for);
}

// What there is to undo when the plan is gone or damaged: a deletion in the foreground lets the
// collector take it, with all that the import owns, before we come to it. Nothing: nothing was
// made.
std::optional<ImportPlan> plan_of_ledger(const Pass& pass) {
  const Ledger& ledger = pass.ledger;
  const bool may_have_stopped = pass.import.object.has_finalizer(api::kRestoreFinalizer);
  if (ledger.claims.empty() && ledger.openings.empty() && !may_have_stopped) return std::nullopt;
  ImportPlan plan;
  plan.vm_name = pass.import.status.target_vm_name;
  plan.source_native_id = ledger.source_id;
  for (const auto& [claim, uid] : ledger.claims) {
    PlannedDisk disk;
    disk.claim = claim;
    plan.disks.push_back(std::move(disk));
  }
  return plan;
}

// The source may be gone for ever; it must not hold an import for ever that somebody deletes. What
// counts is the time for which this process asked it in vain: nobody asked it while no coordinator
// ran, or while an agent had to be waited for. One that has failed waits for its source as long as
// it takes: a vCenter that is away for a night of maintenance must not leave its virtual machines
// off.
bool is_given_up(const Pass& pass) {
  const auto deleted = parse_rfc3339(pass.import.object.deletion_timestamp());
  const auto limit = pass.parts.settings.undo_limit;
  const ImportMemory::SourceTries& tries = pass.memory.source_tries;
  return deleted && pass.parts.clock.wall() - *deleted > limit &&
         tries.last - tries.first > limit && tries.count >= kLeastTries;
}

Result<void> give_up(Pass& pass, std::string why) {
  if (pass.provider && !pass.ledger.openings.empty()) {
    // What is still open there is no reason to leave the machine off.
    std::string waits_for;
    const auto started = restore_power(pass, waits_for);
    if (!started) why += "; starting the source VM: " + started.error().message();
  }
  pass.log.error("source not cleaned up, given up", {{"why", why}});
  pass.event(kube::EventSeverity::Warning, "SourceNotRestored",
             fmt::format("Gave up cleaning up the source: {}; check the source VM's power state "
                         "and its disks' transfers by hand",
                         why));
  pass.ledger.openings.clear();
  pass.ledger.ways.clear();
  TRY(pass.save_ledger());
  return pass.drop_finalizers({api::kRestoreFinalizer});
}

}  // namespace

Result<bool> undo(Pass& pass, std::string& waits_for) {
  if (auto loaded = load_plan(pass); !loaded) {
    if (loaded.error().kind() != ErrorKind::DataLoss) return std::move(loaded).error();
    // Somebody damaged it. What must be undone is in the ledger as well.
    pass.log.warn("the plan cannot be read", loaded.error());
  }
  if (!pass.memory.plan) pass.memory.plan = plan_of_ledger(pass);
  if (!pass.memory.plan) return true;  // nothing was made before the plan
  if (!stop_transfers(pass, waits_for)) return false;
  // Before the source is started: the two must not run at once, with the same disks' content and
  // addresses.
  if (!TRY(remove_vm(pass, waits_for))) return false;

  auto source_clean = clean_source(pass, waits_for);
  if (!source_clean) pass.memory.credentials_doubted = true;  // it may be their fault
  if (!source_clean || !*source_clean) {
    if (!is_given_up(pass)) return source_clean;
    TRY(give_up(pass,
                source_clean ? "it still waits for " + waits_for : source_clean.error().message()));
  }
  waits_for.clear();

  if (!TRY(remove_claims(pass, waits_for))) return false;
  for (const PlannedDisk& disk : pass.memory.plan->disks)
    pass.parts.fleet.forget(pass.job_of(disk));
  return true;
}

}  // namespace vmferry::imports
