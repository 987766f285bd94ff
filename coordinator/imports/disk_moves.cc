#include "coordinator/imports/disk_moves.h"

#include <algorithm>

#include "common/bytes.h"
#include "common/catalogue.h"
#include "coordinator/imports/disk_overrides.h"

namespace vmferry::imports {
namespace {

constexpr std::chrono::seconds kPoll{1};
constexpr int kMostReopenings = 3;  // source-ovirt.md 6

StepResult copy_failed(const Error& error) {
  return StepResult::failed("DataVolumeCreationFailed", "DVCreationFailed", error);
}

const SourceDisk* source_disk(const Pass& pass, const PlannedDisk& planned) {
  const auto& disks = pass.memory.vm->disks;
  const auto found = std::ranges::find(disks, planned.source_id, &SourceDisk::id);
  return found == disks.end() ? nullptr : &*found;
}

// An opening that failed at the source (a transfer cancelled there, say) is ended and made anew.
Error reopen_later(Pass& pass, const SourceDisk& disk, Error why) {
  if (why.code() != code::kSourceRead && why.code() != code::kTicketExpired) return why;
  if (++pass.memory.reopened[disk.id] > kMostReopenings) {
    return Error(ErrorKind::DataLoss, why.code(),
                 fmt::format("the source did not open it in {} tries: {}", kMostReopenings + 1,
                             why.message()));
  }
  const auto gone = pass.provider->release_disk(pass.ledger.openings[disk.id], disk.id, pass.uid(),
                                                false, pass.stop);
  if (!gone || !*gone) return why;
  pass.ledger.openings[disk.id] = "";
  if (const auto saved = pass.save_ledger(); !saved) return saved.error();
  return Error(ErrorKind::Unavailable, why.code(), why.message());  // and so it is tried again
}

// The disk at its source, made readable: from the user's override, or opened by the provider with
// the intent in the ledger first. Nothing: not yet.
Result<std::optional<DiskEndpoint>> opened(Pass& pass, const SourceDisk& disk) {
  if (const auto known = pass.memory.endpoints.find(disk.id);
      known != pass.memory.endpoints.end()) {
    return std::optional(known->second);
  }
  const DiskOverride chosen = TRY(disk_override(pass.import.object, disk));
  if (chosen.endpoint) {
    DiskEndpoint endpoint = *chosen.endpoint;
    endpoint.size_bytes = disk.size_bytes;
    endpoint.identity = {{"disk", disk.id}, {"url", endpoint.url}};
    pass.memory.endpoints[disk.id] = endpoint;
    return std::optional(endpoint);
  }

  DiskOpening opening;
  const auto entry = pass.ledger.openings.find(disk.id);
  if (entry == pass.ledger.openings.end() || entry->second.empty()) {
    pass.ledger.openings[disk.id] = "";
    TRY(pass.save_ledger());
    opening = TRY(pass.provider->open_disk(*pass.memory.vm, disk, pass.uid(), pass.stop));
    pass.ledger.openings[disk.id] = opening.handle;
    TRY(pass.save_ledger());
  } else {
    auto polled = pass.provider->poll_disk(*pass.memory.vm, disk, entry->second, pass.stop);
    if (!polled) return reopen_later(pass, disk, std::move(polled).error());
    opening = *std::move(polled);
  }
  if (!opening.endpoint) return std::optional<DiskEndpoint>();
  const bool vddk =
      chosen.vddk || (pass.parts.settings.vddk && pass.provider_kind() == ProviderKind::Vmware);
  if (vddk) opening.endpoint->kind = SourceKind::NbdkitVddk;
  pass.memory.endpoints[disk.id] = *opening.endpoint;
  pass.memory.reopened.erase(disk.id);
  return std::move(opening.endpoint);
}

TransferRequest request_for(const Pass& pass, const PlannedDisk& planned, const SourceDisk& disk,
                            const DiskEndpoint& endpoint, const ReachableVolume& volume) {
  TransferRequest request;
  request.job = pass.job_of(planned);
  request.import_key = pass.key().to_string();
  request.ns = pass.key().ns;
  request.disk = planned.name;
  request.size_bytes = planned.size_bytes;
  request.datastore = disk.storage_name.empty() ? disk.storage_id : disk.storage_name;
  request.provider = pass.credentials ? pass.credentials->api_url : "";
  request.source = endpoint;
  request.target = volume.target;
  request.nodes = volume.nodes;
  request.compare_source_digest = endpoint.kind == SourceKind::Imageio &&
                                  pass.import.object.annotation(kCompareSourceDigest) != "false";
  return request;
}

// Opens both ends and queues the transfer. Done: queued; Again: an end is not ready.
Result<StepResult> queue(Pass& pass, const PlannedDisk& planned, const SourceDisk& disk,
                         api::DiskStatus& status, std::string& waiting_for) {
  auto endpoint = opened(pass, disk);
  if (!endpoint) {
    const Error error = std::move(endpoint).error();
    if (error.kind() == ErrorKind::Canceled || error.kind() == ErrorKind::Aborted) return error;
    if (!is_retryable(error.kind())) {
      return copy_failed(error.with_context(fmt::format("disk '{}'", planned.name)));
    }
    const SteadyTime now = pass.parts.clock.steady();
    const SteadyTime since = pass.memory.locked_since.try_emplace(disk.id, now).first->second;
    if (now - since > pass.parts.settings.locked_limit) {
      return copy_failed(error.with_context(fmt::format("disk '{}'", planned.name)));
    }
    status.last_error = error.message();
    waiting_for = error.message();
    return StepResult::again(kPoll);
  }
  pass.memory.locked_since.erase(disk.id);
  if (!*endpoint) {
    status.phase = "Opening";
    waiting_for = "the source to open the disk";
    return StepResult::again(kPoll);
  }
  const kube::ObjectKey claim{pass.key().ns, planned.claim};
  const auto volume = TRY(pass.parts.volumes.make_reachable(claim, waiting_for, pass.stop));
  if (!volume) return StepResult::again(kPoll);

  status.source_path = describe(**endpoint);
  const auto opening = pass.ledger.openings.find(disk.id);
  if (opening != pass.ledger.openings.end()) {
    pass.parts.renewals.lock()->insert_or_assign(
        pass.job_of(planned), Renewal{pass.provider, *pass.memory.vm, disk, opening->second,
                                      (*endpoint)->kind == SourceKind::NbdkitVddk});
  }
  pass.parts.fleet.submit(request_for(pass, planned, disk, **endpoint, *volume));
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

// The transfer succeeded: lets go of source and target, then records the result for good.
Result<StepResult> settle(Pass& pass, const PlannedDisk& planned, const TransferView& view,
                          api::DiskStatus& status) {
  if (!view.verified || view.digest.empty()) {
    return copy_failed(coded_error(ErrorKind::DataLoss, code::kVerifyFailed,
                                   "disk '{}' was copied but not verified", planned.name));
  }
  if (const auto entry = pass.ledger.openings.find(planned.source_id);
      entry != pass.ledger.openings.end()) {
    const bool released = TRY(
        pass.provider->release_disk(entry->second, planned.source_id, pass.uid(), true, pass.stop));
    if (!released) return StepResult::again(kPoll);
  }
  const bool let_go = TRY(pass.parts.volumes.release({pass.key().ns, planned.claim}, pass.stop));
  if (!let_go) return StepResult::again(kPoll);
  status.phase = "Done";
  status.digest = view.digest;
  status.verified = true;
  status.bytes_per_second = 0;
  status.to_move_bytes = view.status.to_move_bytes;
  status.moved_bytes = view.status.moved_bytes;
  status.last_error.clear();
  TRY(pass.save_status(true));
  if (pass.ledger.openings.erase(planned.source_id) != 0) TRY(pass.save_ledger());
  pass.memory.endpoints.erase(planned.source_id);
  pass.parts.renewals.lock()->erase(pass.job_of(planned));
  pass.event(
      kube::EventSeverity::Normal, "DiskCopied",
      fmt::format("Disk '{}': {} moved in {}, verified{}, {}", planned.name,
                  human_bytes(status.moved_bytes), human_duration(view.seconds),
                  view.source_digest_matched ? ", equal to the source's own checksum" : "",
                  status.digest));
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

void count(const api::DiskStatus& status, const SourceDisk& disk, MoveTotals& totals) {
  const std::uint64_t estimate = disk.allocated_bytes.value_or(disk.size_bytes);
  const bool known = status.phase == "Done" || status.to_move_bytes != 0;
  const std::uint64_t to_move = known ? status.to_move_bytes : estimate;
  totals.to_move_bytes += std::max(to_move, status.moved_bytes);
  totals.moved_bytes += status.moved_bytes;
  totals.bytes_per_second += static_cast<double>(status.bytes_per_second);
  totals.done += status.phase == "Done" ? 1 : 0;
  totals.verifying += status.phase == "Verifying" ? 1 : 0;
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

Result<bool> release_opening(Pass& pass, const std::string& source_disk_id, bool success) {
  const auto entry = pass.ledger.openings.find(source_disk_id);
  if (entry == pass.ledger.openings.end()) return true;
  auto released =
      pass.provider->release_disk(entry->second, source_disk_id, pass.uid(), success, pass.stop);
  if (released) return released;
  const ErrorKind kind = released.error().kind();
  if (kind != ErrorKind::NotFound && kind != ErrorKind::DataLoss) return released;
  pass.log.warn("source disk is not as it was after its transfer", released.error(),
                {{"disk", source_disk_id}});
  return true;
}

std::string describe(const DiskEndpoint& endpoint) {
  switch (endpoint.kind) {
    case SourceKind::HttpRange:
      return "HTTPS ranges of the flat VMDK";
    case SourceKind::Imageio:
      return "imageio over HTTPS";
    case SourceKind::Nbd:
      return "NBD from " + redacted_url(endpoint.url);
    case SourceKind::NbdkitVddk:
      return "nbdkit child (VDDK)";
    case SourceKind::File:
      return "local file";
    case SourceKind::VmdkStream:
      return "NFC export stream (not resumable)";
  }
  return "unknown";
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
  const SourceDisk* disk = source_disk(pass, planned);
  if (disk == nullptr) {
    return copy_failed(coded_error(ErrorKind::NotFound, code::kDiskMissing,
                                   "disk '{}' is no longer part of the source VM", planned.name));
  }
  if (status.phase == "Done") {
    count(status, *disk, totals);
    return StepResult::done();
  }

  std::string waiting_for;
  std::optional<TransferView> view = pass.parts.fleet.transfer(pass.job_of(planned));
  const bool has_ended =
      view && (view->state == TransferState::Succeeded || view->state == TransferState::Failed);
  StepResult result = StepResult::again(kPoll);
  // A queued one again and again: the holder that it was to be written through may have gone.
  const bool is_queued = view && view->state == TransferState::Queued;
  if (!has_ended &&
      (!view || is_queued || !pass.parts.renewals.lock()->contains(pass.job_of(planned)))) {
    // Also after a restart of ours: a running transfer may ask for renewed credentials. And when
    // the fleet has dropped a job, because an agent ran it that it had no record of.
    const StepResult queued = TRY(queue(pass, planned, *disk, status, waiting_for));
    if (queued.kind == StepResult::Kind::Failed) return queued;
    view = pass.parts.fleet.transfer(pass.job_of(planned));
  }
  if (view) {
    show(*view, status);
    show_detour(pass, *view, status);
    if (view->state == TransferState::Failed) {
      const Error error =
          view->error.value_or(make_error(ErrorKind::Internal, "the transfer failed"));
      return copy_failed(
          error.with_context(fmt::format("disk '{}', claim '{}'", planned.name, planned.claim)));
    }
    if (view->state == TransferState::Succeeded) {
      result = TRY(settle(pass, planned, *view, status));
      if (result.kind == StepResult::Kind::Failed) return result;
    }
    if (view->state == TransferState::Queued) waiting_for = view->waiting_for;
  }
  if (!waiting_for.empty() && totals.waiting_for.empty()) totals.waiting_for = waiting_for;
  count(status, *disk, totals);
  return result;
}

}  // namespace vmferry::imports
