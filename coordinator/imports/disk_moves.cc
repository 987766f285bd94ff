#include "coordinator/imports/disk_moves.h"

#include <algorithm>

#include "common/backoff.h"
#include "common/bytes.h"
#include "common/catalogue.h"
#include "coordinator/imports/disk_openings.h"
#include "coordinator/imports/disk_overrides.h"
#include "coordinator/imports/disk_ways.h"

namespace vmferry::imports {
namespace {

constexpr std::chrono::seconds kPoll{1};
constexpr std::chrono::milliseconds kVddkAgentLimit = std::chrono::hours(1);
// For a source that does not open a disk: a backup may hold it for a while.
constexpr Backoff kLockedRetry{.first = std::chrono::seconds(1), .cap = std::chrono::seconds(30)};

StepResult copy_failed(const Error& error) {
  return StepResult::failed("DataVolumeCreationFailed", "DVCreationFailed", error);
}

// An agent that finds no disk cannot know that the whole VM is gone.
Error cause_of(const Pass& pass, Error error) {
  if (error.code() != code::kDiskMissing) return error;
  if (!pass.provider) return error;  // it has no turn to be asked
  const auto power = pass.provider->power_state(pass.memory.plan->source_native_id, pass.stop);
  return !power && power.error().code() == code::kVmNotFound ? power.error() : error;
}

// Why a transfer has failed for good.
Error failure_of(const Pass& pass, const PlannedDisk& planned, const TransferView& view) {
  const Error error = view.error.value_or(make_error(ErrorKind::Internal, "the transfer failed"));
  return cause_of(pass, error)
      .with_context(fmt::format("disk '{}', claim '{}'", planned.name, planned.claim));
}

const SourceDisk* source_disk(const Pass& pass, const PlannedDisk& planned) {
  const auto& disks = pass.memory.vm->disks;
  const auto found = std::ranges::find(disks, planned.source_id, &SourceDisk::id);
  return found == disks.end() ? nullptr : &*found;
}

TransferRequest request_for(const Pass& pass, const PlannedDisk& planned, const SourceDisk& disk,
                            const OpenedDisk& opening, const ReachableVolume& volume) {
  const DiskEndpoint& endpoint = opening.endpoint;
  TransferRequest request;
  request.job = pass.job_of(planned);
  request.import_key = pass.key().to_string();
  request.ns = pass.key().ns;
  request.disk = planned.name;
  request.size_bytes = planned.size_bytes;
  request.datastore = disk.storage_name.empty() ? disk.storage_id : disk.storage_name;
  request.provider = pass.credentials ? pass.credentials->api_url : "";
  request.source_host = opening.source_host;
  request.budget = opening.budget;
  request.source = endpoint;
  request.target = volume.target;
  request.nodes = volume.nodes;
  request.compare_source_digest = endpoint.kind == SourceKind::Imageio &&
                                  pass.import.object.annotation(kCompareSourceDigest) != "false";
  return request;
}

// The source does not let the disk be opened, or chosen a way for: tried again for a while, if that
// may help.
Result<StepResult> not_opened(Pass& pass, const PlannedDisk& planned, const Error& error,
                              api::DiskStatus& status, std::string& waiting_for) {
  if (error.kind() == ErrorKind::Canceled || error.kind() == ErrorKind::Aborted) return error;
  const Error named = error.with_context(fmt::format("disk '{}'", planned.name));
  if (!is_retryable(error.kind())) return copy_failed(named);
  const SteadyTime now = pass.parts.clock.steady();
  LockedDisk& locked = pass.memory.locked[planned.source_id];
  if (locked.tries == 0) locked.since = now;
  // Nodes are drained and come back; a source VM is not kept down for ever.
  std::chrono::milliseconds limit = pass.parts.settings.locked_limit;
  if (error.code() == code::kVddkAgent) limit = std::max(limit, kVddkAgentLimit);
  if (now - locked.since > limit) return copy_failed(named);
  locked.next_try = now + kLockedRetry.delay(++locked.tries, random_unit());
  status.last_error = error.code() == code::kVddkAgent ? text_with_remedy(error) : error.message();
  waiting_for = status.last_error;
  return StepResult::again(kPoll);
}

// The target's end. Nothing: `instead` is what the step answers.
Result<std::optional<ReachableVolume>> reached(Pass& pass, const PlannedDisk& planned,
                                               api::DiskStatus& status, std::string& waiting_for,
                                               StepResult& instead) {
  instead = StepResult::again(kPoll);
  const kube::ObjectKey claim{pass.key().ns, planned.claim};
  auto volume = pass.parts.volumes.make_reachable(claim, waiting_for, pass.stop);
  if (volume) return volume;
  const Error error = volume.error().with_context(fmt::format("disk '{}'", planned.name));
  if (error.kind() == ErrorKind::DataLoss) {
    instead = copy_failed(error);
    return std::optional<ReachableVolume>();
  }
  if (!pass.waits_for(error)) return error;
  status.last_error = error.message();
  waiting_for = text_with_remedy(error);
  return std::optional<ReachableVolume>();
}

// Opens both ends and queues the transfer. Done: queued; Again: an end is not ready; nobody tells
// when it is unless `announced`.
Result<StepResult> queue(Pass& pass, const PlannedDisk& planned, const SourceDisk& disk,
                         api::DiskStatus& status, std::string& waiting_for, bool& announced) {
  if (const auto locked = pass.memory.locked.find(disk.id);
      locked != pass.memory.locked.end() && pass.parts.clock.steady() < locked->second.next_try) {
    waiting_for = status.last_error;
    return StepResult::again(kPoll);
  }
  std::optional<ReachableVolume> volume;
  StepResult instead;
  if (way_is_open(pass, disk)) {
    // Only an agent that can write the target counts.
    announced = true;  // pods, claims and volumes are watched
    volume = TRY(reached(pass, planned, status, waiting_for, instead));
    if (!volume) return instead;
    announced = false;
    const auto chosen = choose_way(pass, disk, volume->nodes, waiting_for);
    if (!chosen) return not_opened(pass, planned, chosen.error(), status, waiting_for);
    if (!*chosen) {
      announced = pass.parts.fleet.settled();  // then only an agent that comes changes it
      return StepResult::again(kPoll);
    }
  }
  const auto opening = opened(pass, disk);
  if (!opening) return not_opened(pass, planned, opening.error(), status, waiting_for);
  pass.memory.locked.erase(disk.id);
  if (!*opening) {
    status.phase = "Opening";
    waiting_for = "the source to open the disk";
    return StepResult::again(kPoll);
  }
  announced = true;
  if (!volume) volume = TRY(reached(pass, planned, status, waiting_for, instead));
  if (!volume) return instead;

  if (const StepResult checked = TRY(check_identity(pass, planned, disk, (*opening)->identity));
      checked.kind != StepResult::Kind::Done) {
    waiting_for = "the copy of what the disk was before to end";
    announced = false;
    return checked;
  }
  status.source_path = (*opening)->description;
  if (const auto entry = pass.ledger.openings.find(disk.id); entry != pass.ledger.openings.end()) {
    pass.parts.renewals.lock()->insert_or_assign(
        pass.job_of(planned),
        Renewal{opener_of(pass, entry->second), *pass.memory.vm, (*opening)->disk, entry->second});
  }
  pass.parts.fleet.submit(request_for(pass, planned, disk, **opening, *volume));
  return StepResult::done();
}

void show(const TransferView& view, api::DiskStatus& status) {
  switch (view.state) {
    case TransferState::Queued:
      status.phase = "Queued";
      break;
    case TransferState::Assigned:
    case TransferState::Running:
      status.phase = view.status.phase == protocol::JobPhase::Verifying ? "Verifying" : "Copying";
      break;
    case TransferState::Succeeded:
      status.phase = "Verifying";  // until both ends are released
      break;
    case TransferState::Failed:
      status.phase = "Failed";
      break;
  }
  status.to_move_bytes = std::max(status.to_move_bytes, view.status.to_move_bytes);
  status.moved_bytes = std::max(status.moved_bytes, view.status.moved_bytes);
  status.resumed_bytes = view.status.resumed_bytes;
  status.bytes_per_second = static_cast<std::uint64_t>(view.status.bytes_per_second);
  status.node = view.agent;
  status.attempt = view.attempt;
}

// A disk that is done is not opened again.
Result<void> forget_opening(Pass& pass, const std::string& disk) {
  const Ledger before = pass.ledger;
  pass.ledger.openings.erase(disk);
  pass.ledger.ways.erase(disk);
  if (pass.ledger == before) return {};
  return pass.save_ledger();
}

// The VM will not be able to open its disk: told, for only a person can mend it. Empty: it is.
std::string owner_trouble(const Pass& pass, const PlannedDisk& planned, const TransferView& view) {
  if (view.owner.empty()) return "";
  return text_with_remedy(coded_error(
      ErrorKind::PermissionDenied, code::kTargetOwner,
      "disk '{}' on claim '{}/{}' belongs to {} and could not be given to the virtual machine's "
      "user or group (107)",
      planned.name, pass.key().ns, planned.claim, view.owner));
}

// The transfer succeeded: lets go of source and target, then records the result for good.
Result<StepResult> settle(Pass& pass, const PlannedDisk& planned, const TransferView& view,
                          api::DiskStatus& status) {
  if (!view.verified || view.digest.empty()) {
    return copy_failed(coded_error(ErrorKind::DataLoss, code::kVerifyFailed,
                                   "disk '{}' was copied but not verified", planned.name));
  }
  if (!TRY(release_settled(pass, planned.source_id))) return StepResult::again(kPoll);
  const bool let_go = TRY(pass.parts.volumes.release({pass.key().ns, planned.claim}, pass.stop));
  if (!let_go) return StepResult::again(kPoll);
  status.phase = "Done";
  status.digest = view.digest;
  status.verified = true;
  status.bytes_per_second = 0;
  status.to_move_bytes = view.status.to_move_bytes;
  status.moved_bytes = view.status.moved_bytes;
  status.last_error = owner_trouble(pass, planned, view);
  TRY(pass.save_status(true));
  TRY(forget_opening(pass, planned.source_id));
  pass.memory.openings.erase(planned.source_id);
  pass.parts.renewals.lock()->erase(pass.job_of(planned));
  pass.event(kube::EventSeverity::Normal, "DiskCopied",
             fmt::format("Disk '{}': {} moved in {}, verified{}, {}", planned.name,
                         human_bytes(status.moved_bytes), human_duration(view.seconds),
                         view.source_digest_matched ? ", equal to the source's own checksum" : "",
                         status.digest));
  if (!status.last_error.empty()) {
    pass.event(kube::EventSeverity::Warning, "DiskNotHandedOver", status.last_error);
  }
  pass.parts.fleet.forget(pass.job_of(planned));
  return StepResult::done();
}

// A detour that the agent takes is told once, and shown for good.
void show_detour(Pass& pass, const TransferView& view, api::DiskStatus& status) {
  const std::string& via = view.status.via;
  if (via.empty() || status.source_path.find(via) != std::string::npos) return;
  const std::string usual = status.source_path.substr(0, status.source_path.find(", through "));
  status.source_path = usual + ", " + via;
  pass.event(kube::EventSeverity::Warning, "SourceDetour",
             fmt::format("Disk '{}' is read {}", status.name, via));
}

void count(const api::DiskStatus& status, std::uint64_t estimate, MoveTotals& totals) {
  const bool known = status.phase == "Done" || status.to_move_bytes != 0;
  const std::uint64_t to_move = known ? status.to_move_bytes : estimate;
  totals.to_move_bytes += std::max(to_move, status.moved_bytes);
  totals.moved_bytes += status.moved_bytes;
  totals.bytes_per_second += static_cast<double>(status.bytes_per_second);
  totals.done += status.phase == "Done" ? 1 : 0;
  totals.verifying += status.phase == "Verifying" ? 1 : 0;
  totals.active += status.phase == "Copying" || status.phase == "Verifying" ? 1 : 0;
}

// A running transfer may ask for credentials after the secret was changed.
void use_new_account(Pass& pass, const PlannedDisk& planned) {
  auto renewals = pass.parts.renewals.lock();
  const auto renewal = renewals->find(pass.job_of(planned));
  if (renewal == renewals->end()) return;
  renewal->second.provider = opener_of(pass, renewal->second.handle);
}

}  // namespace

std::string describe(const MoveTotals& totals) {
  std::string text =
      fmt::format("Copying virtual machine disks: {} of {} done, {} of {}", totals.done,
                  totals.disks, human_bytes(totals.moved_bytes), human_bytes(totals.to_move_bytes));
  if (totals.verifying != 0) text += fmt::format(", verifying {}", totals.verifying);
  if (!totals.waiting_for.empty()) text += fmt::format("; waiting for {}", totals.waiting_for);
  return text;
}

std::optional<StepResult> failed_transfer(const Pass& pass) {
  for (const PlannedDisk& planned : pass.memory.plan->disks) {
    const auto view = pass.parts.fleet.transfer(pass.job_of(planned));
    if (!view || view->state != TransferState::Failed) continue;
    return copy_failed(failure_of(pass, planned, *view));
  }
  return std::nullopt;
}

MoveTotals show_transfers(Pass& pass) {
  MoveTotals totals;
  for (api::DiskStatus& status : pass.import.status.disks) {
    ++totals.disks;
    const auto view = pass.parts.fleet.transfer(JobId{pass.uid() + "/" + status.claim});
    if (view && status.phase != "Done") show(*view, status);
    count(status, status.virtual_bytes, totals);
  }
  return totals;
}

Result<StepResult> move_disk(Pass& pass, std::size_t index, MoveTotals& totals) {
  const PlannedDisk& planned = pass.memory.plan->disks[index];
  ++totals.disks;
  const auto found =
      std::ranges::find(pass.import.status.disks, planned.claim, &api::DiskStatus::claim);
  if (found == pass.import.status.disks.end()) {
    api::DiskStatus fresh;
    fresh.name = planned.name;
    fresh.source_disk = planned.source_id;
    fresh.claim = planned.claim;
    fresh.phase = "Pending";
    fresh.virtual_bytes = planned.size_bytes;
    pass.import.status.disks.push_back(std::move(fresh));
  }
  api::DiskStatus& status =
      *std::ranges::find(pass.import.status.disks, planned.claim, &api::DiskStatus::claim);
  if (status.phase == "Done") {
    if (!TRY(release_done(pass, planned.source_id))) {
      totals.unannounced = true;
      totals.waiting_for = "the source to close the disk";
      return StepResult::again(kPoll);
    }
    count(status, planned.size_bytes, totals);
    return StepResult::done();
  }
  const SourceDisk* disk = source_disk(pass, planned);
  if (disk == nullptr) {
    return copy_failed(coded_error(ErrorKind::NotFound, code::kDiskMissing,
                                   "disk '{}' is no longer part of the source VM", planned.name));
  }

  std::string waiting_for;
  std::optional<TransferView> view = pass.parts.fleet.transfer(pass.job_of(planned));
  const bool has_ended =
      view && (view->state == TransferState::Succeeded || view->state == TransferState::Failed);
  StepResult result = StepResult::again(kPoll);
  if (view && view->state == TransferState::Queued && view->attempt > 0) {
    reopen_for_attempt(pass, *disk, view->attempt);
  }
  const bool opened_here = pass.parts.renewals.lock()->contains(pass.job_of(planned)) &&
                           pass.memory.openings.contains(disk->id);
  // A queued one again and again: the holder that it was to be written through may have gone.
  const bool is_queued = view && view->state == TransferState::Queued;
  if (!has_ended && (!view || is_queued || !opened_here)) {
    // Also after a restart of ours: a running transfer may ask for renewed credentials. And when
    // the fleet has dropped a job, because an agent ran it that it had no record of.
    bool announced = false;
    const StepResult queued = TRY(queue(pass, planned, *disk, status, waiting_for, announced));
    totals.unannounced = totals.unannounced || !announced;
    if (queued.kind == StepResult::Kind::Failed) return queued;
    view = pass.parts.fleet.transfer(pass.job_of(planned));
  }
  use_new_account(pass, planned);
  if (view) {
    show(*view, status);
    show_detour(pass, *view, status);
    tell_progress(pass, *disk, status.moved_bytes, status.to_move_bytes);
    if (view->state == TransferState::Failed) {
      return copy_failed(failure_of(pass, planned, *view));
    }
    if (view->state == TransferState::Succeeded) {
      const StepResult same = TRY(check_finished(pass, planned, *disk));
      if (same.kind != StepResult::Kind::Done) {
        totals.unannounced = true;
        return same;
      }
      result = TRY(settle(pass, planned, *view, status));
      if (result.kind == StepResult::Kind::Failed) return result;
      totals.unannounced = totals.unannounced || result.kind == StepResult::Kind::Again;
    }
    // Of a place that no agent has come to, the place says more.
    if (view->state == TransferState::Queued && waiting_for.empty())
      waiting_for = view->waiting_for;
  }
  if (!waiting_for.empty() && totals.waiting_for.empty()) totals.waiting_for = waiting_for;
  count(status, disk->allocated_bytes.value_or(disk->size_bytes), totals);
  return result;
}

}  // namespace vmferry::imports
