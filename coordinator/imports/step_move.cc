#include <algorithm>
#include <charconv>

#include "common/backoff.h"
#include "common/bytes.h"
#include "common/catalogue.h"
#include "coordinator/imports/copied.h"
#include "coordinator/imports/disk_moves.h"
#include "coordinator/imports/progress.h"
#include "coordinator/imports/steps.h"

namespace vmferry::imports {
namespace {

constexpr std::chrono::seconds kStopPoll{2};
constexpr std::chrono::seconds kDiskPoll{1};
// Where a change is told anyway, in case that it was not: thousands of imports may be waiting.
constexpr Backoff kIdlePoll{.first = std::chrono::seconds(1), .cap = std::chrono::seconds(15)};
constexpr std::chrono::seconds kClaimRetry{10};
constexpr std::chrono::seconds kPowerLook{60};

std::string word_of(PowerState state) { return state == PowerState::Up ? "up" : "down"; }

// The disks that were planned must still be there, with the size they had.
Result<void> check_unchanged(const ImportPlan& plan, const SourceVm& vm) {
  for (const PlannedDisk& planned : plan.disks) {
    const auto found = std::ranges::find(vm.disks, planned.source_id, &SourceDisk::id);
    if (found == vm.disks.end()) {
      return coded_error(ErrorKind::NotFound, code::kDiskMissing,
                         "disk '{}' ({}) is no longer part of the source VM", planned.name,
                         planned.source_id);
    }
    if (found->size_bytes != planned.size_bytes) {
      return coded_error(ErrorKind::DataLoss, code::kSourceChanged,
                         "disk '{}' had {} bytes when the import was planned and has {} now",
                         planned.name, planned.size_bytes, found->size_bytes);
    }
  }
  return {};
}

// The claim of a disk that has one, as the ledger knows it. One that was removed, or made anew by
// somebody, holds nothing of what was copied to it.
Result<void> check_claim(Pass& pass, const PlannedDisk& disk) {
  const kube::ObjectKey key{pass.key().ns, disk.claim};
  const auto claim = TRY(
      kube::get_if_exists(pass.parts.reader, kube::types::kPersistentVolumeClaim, key, pass.stop));
  if (claim && claim->uid() == pass.ledger.claims[disk.claim] && !claim->deleting()) return {};
  return make_error(ErrorKind::DataLoss,
                    "claim was removed while the import ran, and its data with it; create the "
                    "import again and leave its claims alone");
}

// Where the VM may run.
nlohmann::json scheduling_of(const ImportPlan& plan) {
  const auto spec = plan.vm.value("/spec/template/spec"_json_pointer, nlohmann::json::object());
  nlohmann::json scheduling = nlohmann::json::object();
  for (const char* field :
       {"nodeSelector", "affinity", "tolerations", "schedulerName", "topologySpreadConstraints"}) {
    if (spec.contains(field)) scheduling[field] = spec.at(field);
  }
  return scheduling;
}

ClaimSpec claim_spec(const Pass& pass, const PlannedDisk& disk) {
  ClaimSpec spec;
  spec.key = {pass.key().ns, disk.claim};
  spec.storage_class = disk.storage_class;
  spec.access_mode = disk.access_mode;
  spec.volume_mode = disk.volume_mode == "Block" ? VolumeMode::Block : VolumeMode::Filesystem;
  spec.request_bytes = disk.request_bytes;
  spec.disk_bytes = disk.size_bytes;
  spec.owner = pass.owner();
  spec.labels[std::string(api::kImportUid)] = pass.uid();
  const auto labels = pass.import.object.labels();
  if (const auto tracker = labels.find(std::string(api::kTracker)); tracker != labels.end()) {
    spec.labels[tracker->first] = tracker->second;
  }
  for (const char* network : {"k8s.v1.cni.cncf.io/networks", "v1.multus-cni.io/default-network"}) {
    const auto value = pass.import.object.annotation(network);
    if (value && !value->empty()) spec.annotations[network] = *value;
  }
  spec.scheduling = scheduling_of(*pass.memory.plan);
  return spec;
}

// Makes the claim unless it was made before; then it is ours by its uid, whoever owns it by now.
Result<void> have_claim(Pass& pass, const PlannedDisk& disk) {
  if (pass.ledger.claims.contains(disk.claim)) return check_claim(pass, disk);
  const ClaimSpec spec = claim_spec(pass, disk);
  TRY(pass.parts.volumes.ensure_claim(spec, pass.stop));
  const kube::Object claim =
      TRY(pass.parts.reader.get(kube::types::kPersistentVolumeClaim, spec.key, pass.stop));
  pass.ledger.claims[disk.claim] = claim.uid();
  return pass.save_ledger();
}

bool all_disks_are(const Pass& pass, std::string_view phase) {
  const auto& disks = pass.import.status.disks;
  return std::ranges::all_of(disks, [&](const auto& disk) { return disk.phase == phase; });
}

// "600", "90s", "10m", "1h" of the annotation; nothing when it is absent.
Result<std::optional<std::chrono::seconds>> power_off_after(const kube::Object& import) {
  const auto text = import.annotation(api::kPowerOffAfter);
  if (!text) return std::optional<std::chrono::seconds>();
  std::uint32_t number = 0;
  const char* const end = text->data() + text->size();
  const auto [rest, failure] = std::from_chars(text->data(), end, number);
  const std::string_view unit(rest, static_cast<std::size_t>(end - rest));
  const int factor = unit.empty() || unit == "s" ? 1 : unit == "m" ? 60 : unit == "h" ? 3600 : 0;
  if (failure != std::errc() || factor == 0) {
    return coded_error(ErrorKind::InvalidArgument, code::kManifest,
                       "annotation '{}': '{}' is no time; write 600, 90s, 10m or 1h",
                       api::kPowerOffAfter, *text);
  }
  return std::optional(std::chrono::seconds(std::int64_t{number} * factor));
}

// That it was asked is written down already.
Result<void> ask_to_stop(Pass& pass, bool power_may_be_cut) {
  auto asked = pass.provider->request_stop(pass.memory.plan->source_native_id, false, pass.stop);
  // A guest that cannot be asked waits for its power to be cut, if that is wanted.
  if (!asked && !(power_may_be_cut && asked.error().code() == code::kVmState)) {
    // Refused, because a backup holds its disks for example: it was not asked, and is again.
    pass.ledger.stop_requested_at.clear();
    TRY(pass.save_ledger());
    return std::move(asked).error();
  }
  pass.memory.stop_asked = true;
  return {};
}

// The guest had its time. Told once; asked for until it is down.
Result<void> cut_power(Pass& pass) {
  if (pass.ledger.power_cut_at.empty()) {
    pass.ledger.power_cut_at = to_rfc3339(pass.parts.clock.wall());
    TRY(pass.save_ledger());
    pass.set_processing("Pending", "Cutting the source VM's power: it has not shut down in time");
    TRY(pass.save_status(true));
    pass.event(kube::EventSeverity::Warning, "SourcePoweredOff",
               fmt::format("The source VM had not shut down since {}, so its power was cut as the "
                           "import asks",
                           pass.ledger.stop_requested_at));
  }
  return pass.provider->request_stop(pass.memory.plan->source_native_id, true, pass.stop);
}

bool any_transfer_failed(const Pass& pass) {
  return std::ranges::any_of(pass.memory.plan->disks, [&](const PlannedDisk& disk) {
    const auto view = pass.parts.fleet.transfer(pass.job_of(disk));
    return view && view->state == TransferState::Failed;
  });
}

// Reads the VM once more after it has stopped: only now are its disks final.
Result<StepResult> reread_stopped(Pass& pass) {
  if (pass.memory.vm_read_after_stop) return StepResult::done();
  pass.memory.vm.reset();
  const StepResult read = TRY(read_source(pass));
  if (read.kind != StepResult::Kind::Done || !pass.memory.vm) return read;
  if (const auto unchanged = check_unchanged(*pass.memory.plan, *pass.memory.vm); !unchanged) {
    return StepResult::failed("DataVolumeCreationFailed", "DVCreationFailed", unchanged.error());
  }
  pass.memory.vm_read_after_stop = true;
  return StepResult::done();
}

// It is done. Whoever starts the machine again before its disks are read gets a request of its own,
// with all its time.
Result<void> forget_shutdown(Pass& pass) {
  pass.memory.stop_asked = false;
  if (pass.ledger.stop_requested_at.empty() && pass.ledger.power_cut_at.empty()) return {};
  pass.ledger.stop_requested_at.clear();
  pass.ledger.power_cut_at.clear();
  return pass.save_ledger();
}

// Nothing of it is read yet, and it was down a moment ago: thousands of imports that wait for an
// agent need not ask their sources each second. A first byte that is read is told, and comes after.
bool only_waits_for_agents(const Pass& pass) {
  if (!pass.memory.vm_read_after_stop) return false;
  if (pass.parts.clock.steady() - pass.memory.power_read > kPowerLook) return false;
  return std::ranges::all_of(pass.memory.plan->disks, [&](const PlannedDisk& disk) {
    const auto view = pass.parts.fleet.transfer(pass.job_of(disk));
    return view && view->state == TransferState::Queued && view->attempt == 0;
  });
}

}  // namespace

Result<StepResult> stop_source(Pass& pass) {
  if (is_copied(pass)) return StepResult::done();
  const std::string& id = pass.memory.plan->source_native_id;
  if (only_waits_for_agents(pass)) return StepResult::done();
  const auto state = pass.provider->power_state(id, pass.stop);
  if (!state && state.error().code() == code::kVmNotFound) {
    if (all_disks_are(pass, "Done")) return StepResult::done();
    return StepResult::failed("DataVolumeCreationFailed", "DVCreationFailed",
                              state.error().with_context("the source VM was deleted meanwhile"));
  }
  if (!state) {
    // A source that is away may come back; a transfer that has failed for good ends the import
    // though, whatever the source would say.
    if (any_transfer_failed(pass)) return StepResult::done();
    return state.error();
  }
  const PowerState power = *state;
  if (!pass.import.object.annotation(api::kInitialState)) {
    if (power != PowerState::Up && power != PowerState::Down) {
      return coded_error(ErrorKind::Unavailable, code::kVmState,
                         "source VM is neither running nor stopped ({})", to_string(power));
    }
    TRY(pass.annotate(api::kInitialState, word_of(power)));
  }
  if (power == PowerState::Down) {
    pass.memory.power_read = pass.parts.clock.steady();
    TRY(forget_shutdown(pass));
    return reread_stopped(pass);
  }
  if (power == PowerState::Up && !all_disks_are(pass, "Pending")) {
    if (all_disks_are(pass, "Done")) return StepResult::done();  // too late to harm the copies
    if (was_read(pass)) {
      // No digest would tell: what is read from a running machine's disk fits no moment of it.
      return StepResult::failed(
          "DataVolumeCreationFailed", "DVCreationFailed",
          coded_error(ErrorKind::DataLoss, code::kSourceChanged,
                      "the source VM was started while its disks were copied, so the copies fit no "
                      "moment of it; create the import again"));
    }
    const StepResult unready = TRY(unready_disks(pass));
    if (unready.kind != StepResult::Kind::Done) return unready;
  }

  pass.memory.vm_read_after_stop = false;
  const auto limit = power_off_after(pass.import.object);
  if (!limit) {
    return StepResult::failed("DataVolumeCreationFailed", "DVCreationFailed", limit.error());
  }
  TRY(pass.add_finalizer(
      api::kRestoreFinalizer));  // before the request: it may act at any time (W6)
  const WallTime now = pass.parts.clock.wall();
  const auto asked_at = parse_rfc3339(pass.ledger.stop_requested_at);
  if (!asked_at) {
    pass.set_processing("Pending", "Shutting down the source VM");
    TRY(pass.save_status(true));
    pass.ledger.source_id = id;
    pass.ledger.stop_requested_at = to_rfc3339(now);
    TRY(pass.save_ledger());
    TRY(ask_to_stop(pass, limit->has_value()));
    return StepResult::again(kStopPoll);
  }
  if (!pass.memory.stop_asked && power == PowerState::Up && pass.ledger.power_cut_at.empty()) {
    // By a predecessor, or not: it may have died between its word and its deed. A guest that is
    // asked twice goes down once; one that is going down may not be there to be asked.
    const auto asked = pass.provider->request_stop(id, false, pass.stop);
    if (!asked && asked.error().code() != code::kVmState) return asked.error();
    pass.memory.stop_asked = asked.ok();
  }
  if (*limit && now - *asked_at > **limit) {
    TRY(cut_power(pass));
  } else if (now - *asked_at > pass.parts.settings.stop_limit) {
    const auto entry = find_catalogue_entry(code::kShutdownTimeout);
    pass.set_processing("Pending",
                        fmt::format("The source VM has not shut down since {} [{}]; {}",
                                    pass.ledger.stop_requested_at, entry->code, entry->remedy));
    TRY(pass.save_status(true));
  }
  return StepResult::again(kStopPoll);
}

Result<StepResult> make_claims(Pass& pass) {
  for (const PlannedDisk& disk : pass.memory.plan->disks) {
    if (auto made = have_claim(pass, disk); !made) {
      const Error error = std::move(made).error().with_context(
          fmt::format("disk '{}', claim '{}/{}'", disk.name, pass.key().ns, disk.claim));
      if (is_retryable(error.kind()) || error.kind() == ErrorKind::Canceled) return error;
      if (pass.waits_for(error)) {
        pass.set_processing("Pending", text_with_remedy(error));
        TRY(pass.save_status(true));
        return StepResult::again(kClaimRetry);
      }
      return StepResult::failed("DataVolumeCreationFailed", "DVCreationFailed", error);
    }
    auto& names = pass.import.status.data_volumes;
    if (std::ranges::find(names, disk.claim) == names.end()) names.push_back(disk.claim);
  }
  TRY(pass.save_status(false));
  return StepResult::done();
}

Result<StepResult> move_disks(Pass& pass) {
  const ProgressProfile profile = design_profile(false);
  MoveTotals totals;
  for (std::size_t i = 0; i < pass.memory.plan->disks.size(); ++i) {
    const StepResult moved = TRY(move_disk(pass, i, totals));
    if (moved.kind == StepResult::Kind::Failed) return moved;
  }
  TRY(pass.raise_progress(copy_progress(profile, totals.moved_bytes, totals.to_move_bytes)));
  // On a cluster it may take long until a holder stands.
  const bool only_waits = !pass.parts.settings.embedded && totals.active == 0 && totals.done == 0 &&
                          !totals.waiting_for.empty();
  pass.set_processing(only_waits ? "Pending" : "CopyingDisks", describe(totals));
  TRY(pass.save_status(totals.done == totals.disks));
  if (totals.done == totals.disks) return StepResult::done();
  const bool idle = !pass.parts.settings.embedded && totals.active == 0 && !totals.unannounced;
  pass.memory.idle_passes = idle ? pass.memory.idle_passes + 1 : 0;
  if (!idle) return StepResult::again(kDiskPoll);
  return StepResult::again(kIdlePoll.delay(std::min(pass.memory.idle_passes, 10), random_unit()));
}

}  // namespace vmferry::imports
