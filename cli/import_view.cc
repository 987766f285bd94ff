#include "cli/import_view.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "common/bytes.h"
#include "common/catalogue.h"

namespace vmferry::cli {
namespace {

std::string source_of(const api::ImportSpec& spec) {
  const auto name = [](const api::SourceSection& section) {
    return section.vm_name.empty() ? section.vm_id : section.vm_name;
  };
  if (spec.ovirt && spec.vmware) return "ovirt and vmware";
  if (spec.ovirt) return "ovirt " + name(*spec.ovirt);
  if (spec.vmware) return "vmware " + name(*spec.vmware);
  return "";
}

std::string live_phase(const TransferView& live) {
  switch (live.state) {
    case TransferState::Queued:
      return "Queued";
    case TransferState::Failed:
      return "Failed";
    case TransferState::Succeeded:
      return "Done";
    case TransferState::Assigned:
    case TransferState::Running:
      break;
  }
  switch (live.status.phase) {
    case protocol::JobPhase::Accepted:
    case protocol::JobPhase::Opening:
      return "Opening";
    case protocol::JobPhase::Flushing:
      return "Flushing";
    case protocol::JobPhase::Verifying:
      return "Verifying";
    case protocol::JobPhase::Done:
      return "Done";
    default:
      return "Copying";
  }
}

std::string note_of(const DiskView& disk, const TransferView* live) {
  std::vector<std::string> notes;
  if (live != nullptr && live->state == TransferState::Queued && !live->waiting_for.empty()) {
    notes.push_back("waiting for " + live->waiting_for);
  }
  if (disk.attempt > 1) {
    const bool lost = !disk.history.empty();
    notes.push_back(fmt::format("attempt {}{}", disk.attempt,
                                lost ? " (" + disk.history.back() + "; taken over)" : ""));
  }
  if (disk.resumed_bytes > 0) notes.push_back("resumed " + human_bytes(disk.resumed_bytes));
  if (live != nullptr && !live->status.note.empty()) notes.push_back(live->status.note);
  if (disk.phase == "Failed" && !disk.last_error.empty()) notes.push_back(disk.last_error);
  std::string text;
  for (const std::string& note : notes) text += (text.empty() ? "" : ", ") + note;
  return text;
}

void overlay(DiskView& disk, const TransferView& live) {
  disk.history = live.history;
  disk.attempt = live.attempt;
  if (!live.agent.empty()) disk.agent = live.agent;
  disk.phase = live_phase(live);
  const protocol::JobStatus& status = live.status;
  // A queued disk that changes hands has no status of its own yet: what was counted stays.
  disk.virtual_bytes = std::max(disk.virtual_bytes, status.virtual_bytes);
  if (status.to_move_bytes > 0) disk.to_move_bytes = status.to_move_bytes;
  if (status.moved_bytes > 0) disk.moved_bytes = status.moved_bytes;
  if (status.resumed_bytes > 0) disk.resumed_bytes = status.resumed_bytes;
  disk.verified_bytes = status.verified_bytes;
  const bool moving = disk.phase == "Copying";
  disk.bytes_per_second = moving ? status.bytes_per_second : 0;
  if (!live.digest.empty()) disk.digest = live.digest;
  disk.verified = disk.verified || live.verified;
  if (live.error) disk.last_error = to_string(*live.error);
}

DiskView disk_view(const api::DiskStatus& stored, const TransferView* live) {
  DiskView disk{.name = stored.name,
                .claim = stored.claim,
                .phase = stored.phase,
                .virtual_bytes = stored.virtual_bytes,
                .to_move_bytes = stored.to_move_bytes,
                .moved_bytes = stored.moved_bytes,
                .resumed_bytes = stored.resumed_bytes,
                .verified_bytes = 0,
                .bytes_per_second = 0,
                .agent = stored.node,
                .attempt = stored.attempt,
                .digest = stored.digest,
                .verified = stored.verified,
                .source_path = stored.source_path,
                .note = {},
                .last_error = stored.last_error,
                .history = {}};
  if (stored.phase == "Copying")
    disk.bytes_per_second = static_cast<double>(stored.bytes_per_second);
  // Done is final and only in the API; a transfer that still answers is about to be forgotten.
  if (live != nullptr && stored.phase != "Done") overlay(disk, *live);
  disk.note = note_of(disk, live);
  return disk;
}

void judge(const api::VirtualMachineImport& import, ImportView& view) {
  const auto& conditions = import.status.conditions;
  const auto take = [&view](const api::Condition& condition) {
    view.reason = condition.reason;
    view.message += (view.message.empty() ? "" : "\n") + condition.message;
  };
  const api::Condition* succeeded = api::find_condition(conditions, "Succeeded");
  if (succeeded != nullptr && api::finished(import)) {
    take(*succeeded);
    view.outcome = succeeded->status == "True" ? ImportOutcome::Succeeded : ImportOutcome::Failed;
    return;
  }
  for (const char* type : {"MappingRulesVerified", "Valid"}) {
    const api::Condition* check = api::find_condition(conditions, type);
    if (check == nullptr || check->status != "False") continue;
    take(*check);
    view.outcome = ImportOutcome::Blocked;
  }
  if (view.outcome == ImportOutcome::Blocked) return;
  for (const char* type : {"Processing", "Valid"}) {
    const api::Condition* condition = api::find_condition(conditions, type);
    if (condition != nullptr && view.reason.empty()) take(*condition);
  }
}

}  // namespace

std::uint64_t ImportView::moved_bytes() const {
  std::uint64_t sum = 0;
  for (const DiskView& disk : disks) sum += disk.moved_bytes;
  return sum;
}

std::uint64_t ImportView::to_move_bytes() const {
  std::uint64_t sum = 0;
  for (const DiskView& disk : disks) sum += disk.to_move_bytes;
  return sum;
}

double ImportView::bytes_per_second() const {
  double sum = 0;
  for (const DiskView& disk : disks) sum += disk.bytes_per_second;
  return sum;
}

std::optional<double> seconds_left(std::uint64_t bytes_left, double bytes_per_second) {
  if (!(bytes_per_second >= 1) || bytes_left == 0) return std::nullopt;
  return static_cast<double>(bytes_left) / bytes_per_second;
}

std::optional<double> ImportView::seconds_left() const {
  const std::uint64_t total = to_move_bytes();
  return cli::seconds_left(total - std::min(total, moved_bytes()), bytes_per_second());
}

ImportView view_of(const api::VirtualMachineImport& import,
                   const std::vector<TransferView>& transfers) {
  ImportView view;
  view.key = import.object.key();
  view.uid = import.object.uid();
  view.created_at = import.object.creation_timestamp();
  view.deleting = import.object.deleting();
  view.target_vm = import.status.target_vm_name;
  if (view.target_vm.empty()) view.target_vm = import.spec.target_vm_name.value_or("");
  view.source = source_of(import.spec);
  judge(import, view);
  const std::string progress = import.object.annotation(api::kProgress).value_or("");
  int percent = 0;
  std::from_chars(progress.data(), progress.data() + progress.size(), percent);
  view.progress = std::clamp(percent, 0, 100);
  for (const api::DiskStatus& stored : import.status.disks) {
    // The job id starts with the import's uid: an earlier import of this name does not count.
    const auto live = std::ranges::find_if(transfers, [&](const TransferView& transfer) {
      return transfer.disk == stored.name && transfer.job.value.starts_with(view.uid + "/");
    });
    view.disks.push_back(disk_view(stored, live == transfers.end() ? nullptr : &*live));
  }
  return view;
}

std::string phase_text(const ImportView& view) {
  const auto with_reason = [&](const char* word) {
    return view.reason.empty() ? std::string(word) : fmt::format("{}({})", word, view.reason);
  };
  if (view.outcome == ImportOutcome::Gone) return "Deleted";
  if (view.deleting) return "Deleting";
  switch (view.outcome) {
    case ImportOutcome::Succeeded:
      return "Succeeded";
    case ImportOutcome::Failed:
      return with_reason("Failed");
    case ImportOutcome::Blocked:
      return with_reason("Blocked");
    default:
      return view.reason.empty() ? "New" : view.reason;
  }
}

std::string eta_text(std::optional<double> seconds_left) {
  return seconds_left ? human_duration(*seconds_left) : "-";
}

std::string remedy_of(std::string_view reason, std::string_view message) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 10> kCodeOfReason{{
      {"SecretNotFound", code::kSecretMissing},
      {"UninitializedProvider", code::kSecretInvalid},
      {"UnreachableProvider", code::kSourceUnreachable},
      {"SourceVMNotFound", code::kVmNotFound},
      {"ResourceMappingNotFound", code::kMappingMissing},
      {"IncompleteMappingRules", code::kBlocked},
      {"MappingRulesVerificationFailed", code::kBlocked},
      {"InvalidTargetVMName", code::kNameTaken},
      {"DuplicateTargetVMName", code::kNameTaken},
      {"VMTemplateMatchingFailed", code::kTemplate},
  }};
  // The code in brackets, if the message has one: "... [VMF-DST-FULL]; free space".
  const std::size_t start = message.find("[VMF-");
  if (start != std::string_view::npos) {
    const std::string_view rest = message.substr(start + 1);
    const auto entry = find_catalogue_entry(rest.substr(0, rest.find(']')));
    if (entry) {
      const bool told = message.find(entry->remedy) != std::string_view::npos;
      return told ? "" : std::string(entry->remedy);
    }
  }
  for (const auto& [name, error_code] : kCodeOfReason) {
    if (name != reason) continue;
    if (const auto entry = find_catalogue_entry(error_code)) return std::string(entry->remedy);
  }
  return "";
}

}  // namespace vmferry::cli
