#include "coordinator/imports/pass.h"

#include <algorithm>
#include <functional>

#include "common/catalogue.h"
#include "coordinator/imports/ledger_seal.h"
#include "coordinator/imports/observe.h"
#include "coordinator/imports/progress.h"
#include "coordinator/volumes/cluster/refusals.h"

namespace vmferry::imports {
namespace {

// A status without what changes all the time: equal ones need no prompt write.
nlohmann::json without_counters(nlohmann::json status) {
  status.erase("copy");
  for (auto& disk : status["disks"]) {
    for (const char* counter : {"movedBytes", "bytesPerSecond", "toMoveBytes", "lastError"})
      disk.erase(counter);
  }
  for (auto& condition : status["conditions"]) {
    condition.erase("lastHeartbeatTime");
    const std::string reason = condition.value("reason", "");
    if (reason == "CopyingDisks" || reason == "Pending") condition.erase("message");
  }
  return status;
}

constexpr std::string_view kTrouble = "Trying again: ";

// What the server kept of a status tells whether its CRD knows all of it: what it does not know it
// drops without a word, disks and what was copied of them included.
Result<void> check_kept(const nlohmann::json& wanted, const kube::Object& kept) {
  const nlohmann::json status = kept.json().value("status", nlohmann::json::object());
  std::string lost;
  for (const auto& [name, value] : wanted.items()) {
    if (value.is_null() || status.contains(name)) continue;
    lost += (lost.empty() ? "" : ", ") + name;
  }
  if (lost.empty()) return {};
  return coded_error(ErrorKind::InvalidArgument, code::kSchema,
                     "CustomResourceDefinition virtualmachineimports.v2v.kubevirt.io does not know "
                     "these fields of the status, and the API server dropped them: {}",
                     lost);
}

// An object is at most about a MiB, and a VM may have hundreds of disks.
constexpr std::size_t kMostFindings = 200;
constexpr std::size_t kLongestText = 2000;
constexpr std::size_t kRoomForRemedies = 256 * 1024;  // of them all

std::string cut(std::string text) {
  if (text.size() <= kLongestText) return text;
  std::size_t end = kLongestText;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;  // whole UTF-8
  return text.substr(0, end) + "...";
}

}  // namespace

StepResult StepResult::failed(std::string_view reason, std::string_view event_reason,
                              const Error& error) {
  return {.kind = Kind::Failed,
          .after = {},
          .reason = std::string(reason),
          .event_reason = std::string(event_reason),
          .message = text_with_remedy(error)};
}

Pass::Pass(ReconcilerParts& the_parts, api::VirtualMachineImport the_import, Ledger the_ledger,
           ImportMemory& the_memory, std::stop_token the_stop)
    : parts(the_parts),
      import(std::move(the_import)),
      ledger(std::move(the_ledger)),
      memory(the_memory),
      stop(std::move(the_stop)),
      log(the_parts.log.with({{"import", import.object.key().to_string()}})),
      key_(import.object.key()),
      uid_(import.object.uid()),
      written_status_(api::status_to_json(import.status)) {}

ProviderKind Pass::provider_kind() const { return imports::provider_kind(import.spec); }

const api::SourceSection& Pass::source() const { return source_section(import.spec); }

kube::OwnerReference Pass::owner() const {
  return {.api_version = kube::types::kVirtualMachineImport.api_version,
          .kind = kube::types::kVirtualMachineImport.kind,
          .name = key_.name,
          .uid = uid_,
          .controller = true,
          .block_owner_deletion = true};
}

bool Pass::is_own_vm(const kube::Object& vm) const {
  if (vm.controlled_by(uid_)) return true;
  const auto labels = vm.labels();
  const auto maker = labels.find(std::string(api::kImportUid));
  const auto owners = vm.owners();
  const bool is_free = std::ranges::none_of(owners, &kube::OwnerReference::controller);
  return is_free && maker != labels.end() && maker->second == uid_;
}

ObservationScope Pass::scope() const {
  return {.embedded = parts.settings.embedded,
          .config_namespace = parts.settings.config_namespace,
          .import_namespace = key_.ns,
          .template_directory = parts.settings.template_directory};
}

void Pass::report_findings(const std::vector<Finding>& findings) {
  std::vector<Finding> kept = findings;
  std::ranges::stable_sort(kept, std::greater(), &Finding::level);
  if (kept.size() > kMostFindings) kept.resize(kMostFindings);
  std::size_t room = kRoomForRemedies;
  for (Finding& finding : kept) {
    finding.text = cut(std::move(finding.text));
    if (finding.remedy.size() > room) {  // half of a piece of YAML helps nobody
      finding.remedy = "too long to be kept here; vmferry validate " + key_.name + " tells it";
    }
    room -= std::min(room, finding.remedy.size());
  }
  if (kept == import.status.findings) return;  // told already
  for (const Finding& finding : kept) {
    const auto level = to_string(finding.level);
    if (finding.level == FindingLevel::Log) {
      log.info("finding", {{"rule", finding.rule}, {"level", level}, {"text", finding.text}});
    } else {
      log.warn("finding", {{"rule", finding.rule}, {"level", level}, {"text", finding.text}});
    }
  }
  import.status.findings = std::move(kept);
}

void Pass::set_condition(std::string_view type, std::string_view status, std::string_view reason,
                         std::string_view message) {
  const api::Condition* existing = api::find_condition(import.status.conditions, type);
  const bool same = existing != nullptr && existing->status == status &&
                    existing->reason == reason && existing->message == message;
  // A heartbeat alone would turn every pass into a write.
  if (same) return;
  api::upsert_condition(import.status.conditions, type, status, reason, message,
                        parts.clock.wall());
}

void Pass::event(kube::EventSeverity severity, std::string_view reason, std::string_view message) {
  parts.events.record(import.object, severity, reason, message, stop);
}

bool Pass::waits_for(const Error& error) const {
  return !parts.settings.embedded && volumes::is_mendable(error);
}

void Pass::show_trouble(const Error& error) {
  set_processing("Pending", std::string(kTrouble) + text_with_remedy(error));
}

void Pass::clear_trouble() {
  std::erase_if(import.status.conditions, [](const api::Condition& condition) {
    return condition.type == "Processing" && condition.message.starts_with(kTrouble);
  });
}

void Pass::clear_pending() {
  std::erase_if(import.status.conditions, [](const api::Condition& condition) {
    return condition.type == "Processing" && condition.reason == "Pending";
  });
}

Result<void> Pass::save_status(bool urgent) {
  const nlohmann::json status = api::status_to_json(import.status);
  if (status == written_status_) return {};
  const bool only_counters = without_counters(status) == without_counters(written_status_);
  const SteadyTime now = parts.clock.steady();
  if (!urgent && only_counters) {
    const std::chrono::nanoseconds base = parts.settings.status_every;
    const auto every = parts.pace == nullptr ? base : parts.pace->interval(uid_, base, now);
    if (now - memory.status_written < every) return {};
  }
  import.object = TRY(parts.writer.patch_status(kube::types::kVirtualMachineImport, key_,
                                                {{ "status",
                                                   status }},
                                                stop));
  written_status_ = status;
  memory.status_written = now;
  return check_kept(status, import.object);
}

Result<void> Pass::patch(const nlohmann::json& merge_patch) {
  import.object =
      TRY(parts.writer.patch(kube::types::kVirtualMachineImport, key_, merge_patch, {}, stop));
  return {};
}

Result<kube::Object> Pass::create(const kube::ResourceType& type, const kube::Object& object,
                                  const kube::WriteOptions& options) {
  if (object.ns() != key_.ns) {
    return make_error(ErrorKind::InvalidArgument,
                      "{} '{}' is not of the import's namespace: it is not created", type.kind,
                      object.key().to_string());
  }
  return parts.writer.create(type, object, options, stop);
}

Result<void> Pass::annotate(std::string_view name, std::string_view value) {
  if (import.object.annotation(name) == value) return {};
  return patch({{"metadata", {{"annotations", {{std::string(name), value}}}}}});
}

Result<void> Pass::raise_progress(int percent) {
  const std::optional<std::string> current = import.object.annotation(api::kProgress);
  const std::optional<int> raised =
      raised_progress(current ? std::optional<std::string_view>(*current) : std::nullopt, percent);
  if (!raised) return {};
  return annotate(api::kProgress, fmt::format("{}", *raised));
}

// By the version that was read: a write of a coordinator that was replaced meanwhile, under way
// for long, must not undo what its successor has written.
Result<void> Pass::save_ledger() {
  ledger.written_by = uid_;
  const std::string text = sealed(to_text(ledger), uid_, parts.disks->key());
  if (import.object.annotation(api::kLedger) != text) {
    TRY(patch({{"metadata",
                {{"annotations", {{std::string(api::kLedger), text}}},
                 {"resourceVersion", import.object.resource_version()}}}}));
  }
  parts.disks->keep_only(uid_, ledger.openings);
  return {};
}

Result<void> Pass::forget_other_import() {
  std::vector<std::string> left = import.object.finalizers();
  std::erase(left, api::kRestoreFinalizer);
  return patch({{"metadata",
                 {{"resourceVersion", import.object.resource_version()},
                  {"finalizers", left},
                  {"annotations",
                   {{std::string(api::kLedger), nullptr},
                    {std::string(api::kProgress), nullptr},
                    {std::string(api::kInitialState), nullptr}}}}}});
}

Result<void> Pass::add_finalizer(std::string_view name) {
  if (import.object.has_finalizer(name)) return {};
  std::vector<std::string> finalizers = import.object.finalizers();
  finalizers.emplace_back(name);
  return patch(
      {{"metadata",
        {{"finalizers", finalizers}, {"resourceVersion", import.object.resource_version()}}}});
}

Result<void> Pass::drop_finalizers(const std::vector<std::string_view>& names) {
  std::vector<std::string> left = import.object.finalizers();
  const auto dropped = std::erase_if(
      left, [&](const std::string& name) { return std::ranges::find(names, name) != names.end(); });
  if (dropped == 0) return {};
  return patch({{"metadata",
                 {{"finalizers", left}, {"resourceVersion", import.object.resource_version()}}}});
}

}  // namespace vmferry::imports
