#include "coordinator/imports/copied.h"

#include <algorithm>

#include "coordinator/imports/disk_openings.h"

namespace vmferry::imports {
namespace {

constexpr std::chrono::seconds kPoll{1};

const api::DiskStatus* status_of(const Pass& pass, const PlannedDisk& planned) {
  const auto& disks = pass.import.status.disks;
  const auto found = std::ranges::find(disks, planned.claim, &api::DiskStatus::claim);
  return found == disks.end() ? nullptr : &*found;
}

// Agents write no target any more.
bool cancel_transfers(Pass& pass) {
  bool all_ended = true;
  for (const PlannedDisk& disk : pass.memory.plan->disks) {
    all_ended = pass.parts.fleet.cancel(pass.job_of(disk)) && all_ended;
    pass.parts.renewals.lock()->erase(pass.job_of(disk));
  }
  return all_ended;
}

}  // namespace

bool is_copied(const Pass& pass) {
  if (!pass.memory.plan || pass.memory.plan->disks.empty()) return false;
  if (!pass.ledger.openings.empty()) return false;
  return std::ranges::all_of(pass.memory.plan->disks, [&](const PlannedDisk& planned) {
    const api::DiskStatus* const status = status_of(pass, planned);
    return status != nullptr && status->phase == "Done";
  });
}

bool was_read(const Pass& pass) {
  return std::ranges::any_of(pass.memory.plan->disks, [&](const PlannedDisk& planned) {
    const api::DiskStatus* const status = status_of(pass, planned);
    if (status != nullptr && (status->phase == "Done" || status->attempt > 0)) return true;
    const auto view = pass.parts.fleet.transfer(pass.job_of(planned));
    return view && view->attempt > 0;
  });
}

Result<StepResult> unready_disks(Pass& pass) {
  if (!cancel_transfers(pass)) return StepResult::again(kPoll);
  const auto openings = pass.ledger.openings;
  for (const auto& [disk, handle] : openings) {
    if (!TRY(release_opening(pass, disk, false))) return StepResult::again(kPoll);
    pass.ledger.openings.erase(disk);
    TRY(pass.save_ledger());
  }
  // What identified a content of which nothing was copied.
  pass.ledger.identities.clear();
  TRY(pass.save_ledger());
  pass.memory.openings.clear();
  pass.memory.reopened_after.clear();
  pass.memory.locked.clear();
  pass.memory.reopened.clear();
  pass.memory.idle_passes = 0;
  pass.memory.vm_read_after_stop = false;
  for (api::DiskStatus& disk : pass.import.status.disks) {
    disk.phase = "Pending";
    disk.source_path.clear();
    disk.last_error.clear();
  }
  pass.event(kube::EventSeverity::Warning, "SourceStarted",
             "The source VM was started before any of its disks was read: it is shut down once "
             "more, and its disks are opened anew");
  return StepResult::done();
}

}  // namespace vmferry::imports
