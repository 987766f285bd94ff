#include "coordinator/imports/disk_openings.h"

#include <algorithm>
#include <utility>

#include "common/catalogue.h"
#include "coordinator/imports/disk_ways.h"

namespace vmferry::imports {
namespace {

constexpr std::chrono::seconds kPoll{1};
constexpr int kMostReopenings = 3;  // source-ovirt.md 6

// Asks whoever opened it; when that one is shut out, because its password was changed and its
// session has ended, whoever is the account now. Its leases have ended with the session.
template <typename Ask>
auto ask_opener(Pass& pass, const std::string& handle, Ask ask) -> decltype(ask(*pass.provider)) {
  const std::shared_ptr<Provider> opener = opener_of(pass, handle);
  if (opener == nullptr) {
    return make_error(ErrorKind::Internal, "the source of an open disk was not connected to");
  }
  auto answer = ask(*opener);
  const bool is_shut_out = !answer && answer.error().kind() == ErrorKind::PermissionDenied;
  if (!is_shut_out || !pass.provider || opener == pass.provider) return answer;
  pass.memory.lease_openers.erase(handle);
  return ask(*pass.provider);
}

void remember_opener(Pass& pass, const std::string& handle) {
  if (pass.provider_kind() != ProviderKind::Vmware || handle.empty()) return;
  pass.memory.lease_openers.try_emplace(handle, pass.provider);
}

Result<bool> release_at_source(Pass& pass, const std::string& disk_id, const std::string& handle,
                               bool success) {
  const bool gone = TRY(ask_opener(pass, handle, [&](Provider& provider) {
    return provider.release_disk(handle, disk_id, pass.uid(), success, pass.stop);
  }));
  if (gone) pass.memory.lease_openers.erase(handle);
  return gone;
}

// An opening that failed at the source (a transfer cancelled there, a lease that ran out) is ended
// and made anew.
Error reopen_later(Pass& pass, const SourceDisk& disk, Error why) {
  if (why.code() != code::kSourceRead && why.code() != code::kTicketExpired) return why;
  if (++pass.memory.reopened[disk.id] > kMostReopenings) {
    return Error(ErrorKind::DataLoss, why.code(),
                 fmt::format("the source did not open it in {} tries: {}", kMostReopenings + 1,
                             why.message()));
  }
  const std::string handle = pass.ledger.openings[disk.id];
  const auto gone = release_at_source(pass, disk.id, handle, false);
  if (!gone || !*gone) return why;
  // Disks that shared it have lost it too.
  for (auto& [id, opening] : pass.ledger.openings) {
    if (opening != handle) continue;
    opening.clear();
    pass.memory.openings.erase(id);
  }
  if (const auto saved = pass.save_ledger(); !saved) return saved.error();
  return Error(ErrorKind::Unavailable, why.code(), why.message());  // and so it is tried again
}

OpenedDisk from_override(const DiskOverride& chosen, const SourceDisk& disk) {
  OpenedDisk made;
  made.endpoint = *chosen.endpoint;
  made.endpoint.size_bytes = disk.size_bytes;
  made.endpoint.identity = {{"disk", disk.id}, {"url", made.endpoint.url}};
  made.description = describe(made.endpoint);
  made.disk = disk;
  made.elsewhere = true;
  return made;
}

// Writes down that this import opens the disk. Of two that come at once one is first.
Result<void> note_intent(Pass& pass, const SourceDisk& disk) {
  TRY(lock_disk(pass, disk.id, disk.name));
  pass.ledger.openings[disk.id] = "";
  return pass.save_ledger();
}

// The disk as its copying was begun: a snapshot may have been taken since, and the source be read
// anew.
SourceDisk as_begun(const Pass& pass, const SourceDisk& disk) {
  SourceDisk begun = disk;
  const auto identity = pass.ledger.identities.find(disk.id);
  if (identity == pass.ledger.identities.end()) return begun;
  for (const auto& [name, value] : identity->second) {
    if (name == kIdentityFile) begun.file = value;
  }
  return begun;
}

// The first part that both name and that differs. The ways of reading a disk know more or less of
// it, and the way may be another one than before.
std::optional<std::string> difference(const SourceIdentityText& before,
                                      const SourceIdentityText& now) {
  for (const auto& [name, value] : now) {
    const auto old = std::ranges::find(before, name, &std::pair<std::string, std::string>::first);
    if (old == before.end() || old->second == value || value == kIdentityNone) continue;
    return fmt::format("its {} was '{}' and is '{}'", name, old->second, value);
  }
  return std::nullopt;
}

// Whether a disk that is not done yet is read by the same opening. The entry of one that is done
// may have stayed in the ledger.
bool is_needed_by_another(const Pass& pass, const std::string& source_disk_id,
                          const std::string& handle) {
  if (handle.empty()) return false;
  const auto& disks = pass.import.status.disks;
  return std::ranges::any_of(pass.ledger.openings, [&](const auto& other) {
    if (other.first == source_disk_id || other.second != handle) return false;
    const auto status = std::ranges::find(disks, other.first, &api::DiskStatus::source_disk);
    return status == disks.end() || status->phase != "Done";
  });
}

StepResult failed(const PlannedDisk& planned, const std::string& what) {
  return StepResult::failed(
      "DataVolumeCreationFailed", "DVCreationFailed",
      coded_error(ErrorKind::DataLoss, code::kSourceChanged,
                  "disk '{}' of the source VM has changed since its copying began ({}), and other "
                  "disks are copied already, so the copies fit no moment of it; create the import "
                  "again",
                  planned.name, what));
}

}  // namespace

std::shared_ptr<Provider> opener_of(const Pass& pass, const std::string& handle) {
  const auto known = pass.memory.lease_openers.find(handle);
  return known != pass.memory.lease_openers.end() ? known->second : pass.provider;
}

bool way_is_open(Pass& pass, const SourceDisk& disk) {
  if (pass.provider_kind() != ProviderKind::Vmware) return false;
  const auto wish = disk_override(pass.import.object, disk);
  return wish && !wish->endpoint && !way_of(pass, disk, wish->way);
}

Result<OpenedDisk*> opened(Pass& pass, const SourceDisk& disk) {
  auto& openings = pass.memory.openings;
  const auto known = openings.find(disk.id);
  const DiskOverride wish = TRY(disk_override(pass.import.object, disk));
  if (wish.endpoint) {
    if (known != openings.end()) return &known->second;
    return &(openings[disk.id] = from_override(wish, disk));
  }
  SourceDisk wanted = as_begun(pass, disk);
  std::string why;
  if (pass.provider_kind() == ProviderKind::Vmware) {
    std::optional<WayChoice> choice = way_of(pass, disk, wish.way);
    if (!choice) return static_cast<OpenedDisk*>(nullptr);
    wanted.way = choice->way;
    why = std::move(choice->why);
  }
  if (known != openings.end()) {
    if (known->second.disk.way == wanted.way) return &known->second;
    openings.erase(known);  // it is asked for otherwise since
  }
  // With the intent, unless that was written down without the way, by an earlier version.
  if (!why.empty() && pass.ledger.openings.contains(disk.id)) TRY(pass.save_ledger());
  DiskOpening opening;
  const auto entry = pass.ledger.openings.find(disk.id);
  if (entry == pass.ledger.openings.end() || entry->second.empty()) {
    if (entry == pass.ledger.openings.end()) TRY(note_intent(pass, disk));
    opening = TRY(pass.provider->open_disk(*pass.memory.vm, wanted, pass.uid(), pass.stop));
    if (!opening.handle.empty()) {
      remember_opener(pass, opening.handle);
      pass.ledger.openings[disk.id] = opening.handle;
      TRY(pass.save_ledger());
    }
  } else {
    auto polled = ask_opener(pass, entry->second, [&](Provider& provider) {
      return provider.poll_disk(*pass.memory.vm, wanted, entry->second, pass.stop);
    });
    if (!polled) return reopen_later(pass, disk, std::move(polled).error());
    remember_opener(pass, entry->second);
    // The engine knows it: so it is told to others, also when the ledger had no seal of ours.
    TRY(lock_disk(pass, disk.id, disk.name));
    TRY(pass.save_ledger());
    opening = *std::move(polled);
  }
  if (!opening.endpoint) return static_cast<OpenedDisk*>(nullptr);
  OpenedDisk made;
  made.endpoint = *std::move(opening.endpoint);
  made.description = describe(made.endpoint);
  made.source_host = std::move(opening.source_host);
  made.budget = opening.budget;
  if (why.empty()) why = std::move(opening.why);
  if (!why.empty()) made.description += "; " + why;
  made.disk = std::move(wanted);
  if (pass.provider_kind() == ProviderKind::Vmware) made.identity = made.endpoint.identity;
  pass.memory.reopened.erase(disk.id);
  return &(openings[disk.id] = std::move(made));
}

void reopen_for_attempt(Pass& pass, const SourceDisk& disk, protocol::Attempt attempt) {
  const auto known = pass.memory.openings.find(disk.id);
  if (known == pass.memory.openings.end()) return;
  // What the user names stays what it is, and an oVirt transfer renews itself.
  if (pass.provider_kind() != ProviderKind::Vmware || known->second.elsewhere) return;
  protocol::Attempt& last = pass.memory.reopened_after[disk.id];
  if (std::exchange(last, attempt) == attempt) return;
  OpenedDisk before = std::move(known->second);
  pass.memory.openings.erase(known);
  if (before.endpoint.kind == SourceKind::VmdkStream) return;  // it is read but once
  // While the source does not answer, the attempt goes by what is known. What stands in its way for
  // good is told when the disk is queued.
  const auto fresh = opened(pass, disk);
  if (!fresh && is_retryable(fresh.error().kind())) {
    pass.memory.openings[disk.id] = std::move(before);
  }
}

Result<StepResult> check_identity(Pass& pass, const PlannedDisk& planned, const SourceDisk& disk,
                                  const SourceIdentityText& identity) {
  const auto opening = pass.memory.openings.find(disk.id);
  if (opening != pass.memory.openings.end() && opening->second.identity_checked) {
    return StepResult::done();
  }
  const auto settle = [&]() -> Result<StepResult> {
    if (pass.ledger.identities[disk.id] != identity) {
      pass.ledger.identities[disk.id] = identity;
      TRY(pass.save_ledger());
    }
    if (opening != pass.memory.openings.end()) opening->second.identity_checked = true;
    return StepResult::done();
  };
  if (identity.empty()) return StepResult::done();
  const auto before = pass.ledger.identities.find(disk.id);
  if (before == pass.ledger.identities.end()) return settle();
  const std::optional<std::string> changed = difference(before->second, identity);
  if (!changed) return settle();

  const auto& disks = pass.import.status.disks;
  if (std::ranges::find(disks, "Done", &api::DiskStatus::phase) != disks.end()) {
    return failed(planned, *changed);
  }
  if (!pass.parts.fleet.cancel(pass.job_of(planned))) return StepResult::again(kPoll);
  pass.event(kube::EventSeverity::Warning, "SourceChanged",
             fmt::format("Disk '{}' has changed since its copying began ({}): it is copied from "
                         "the start",
                         planned.name, *changed));
  return settle();
}

Result<StepResult> check_finished(Pass& pass, const PlannedDisk& planned, const SourceDisk& disk) {
  const auto known = pass.memory.openings.find(disk.id);
  const bool checked = known != pass.memory.openings.end() && known->second.identity_checked;
  if (checked || !pass.ledger.identities.contains(disk.id)) return StepResult::done();
  const SourceIdentityText identity =
      TRY(pass.provider->disk_identity(*pass.memory.vm, as_begun(pass, disk), pass.stop));
  const bool same = !difference(pass.ledger.identities[disk.id], identity);
  const StepResult result = TRY(check_identity(pass, planned, disk, identity));
  if (same || result.kind != StepResult::Kind::Done) return result;
  return StepResult::again(kPoll);  // the transfer was dropped: it is queued again
}

void tell_progress(Pass& pass, const SourceDisk& disk, std::uint64_t moved, std::uint64_t to_move) {
  const auto entry = pass.ledger.openings.find(disk.id);
  if (entry == pass.ledger.openings.end() || entry->second.empty()) return;
  const std::shared_ptr<Provider> opener = opener_of(pass, entry->second);
  opener->keep_open(entry->second, pass.stop);
  if (to_move == 0) return;  // not known yet
  const auto percent = static_cast<int>(std::min(moved, to_move) / (to_move / 100 + 1));
  opener->report_progress(entry->second, percent);
}

Result<bool> release_settled(Pass& pass, const std::string& source_disk_id) {
  const auto entry = pass.ledger.openings.find(source_disk_id);
  if (entry == pass.ledger.openings.end()) return true;
  if (is_needed_by_another(pass, source_disk_id, entry->second)) return true;
  return release_at_source(pass, source_disk_id, entry->second, true);
}

Result<bool> release_done(Pass& pass, const std::string& source_disk_id) {
  const auto entry = pass.ledger.openings.find(source_disk_id);
  if (entry == pass.ledger.openings.end()) {
    if (pass.ledger.ways.erase(source_disk_id) != 0) TRY(pass.save_ledger());
    return true;
  }
  if (!is_needed_by_another(pass, source_disk_id, entry->second) &&
      !TRY(release_opening(pass, source_disk_id, true))) {
    return false;
  }
  pass.ledger.openings.erase(source_disk_id);
  pass.ledger.ways.erase(source_disk_id);
  TRY(pass.save_ledger());
  return true;
}

Result<bool> release_opening(Pass& pass, const std::string& source_disk_id, bool success) {
  const auto entry = pass.ledger.openings.find(source_disk_id);
  if (entry == pass.ledger.openings.end()) return true;
  auto released = release_at_source(pass, source_disk_id, entry->second, success);
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

}  // namespace vmferry::imports
