#include "cli/describe_text.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "cli/columns.h"
#include "cli/duration.h"
#include "cli/table.h"
#include "common/bytes.h"

namespace vmferry::cli {
namespace {

constexpr std::size_t kTextWidth = 96;

void field(std::string& text, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  text += fmt::format("  {:<18}{}\n", fmt::format("{}:", name), printable(value));
}

std::string name_of(const api::ObjectIdentifier& id, const std::string& default_ns) {
  return id.ns.value_or(default_ns) + "/" + id.name;
}

void describe_source(std::string& text, const char* provider, const api::SourceSection& source) {
  field(text, "Provider", provider);
  field(text, "VM id", source.vm_id);
  field(text, "VM name", source.vm_name);
  field(text, "Cluster", source.cluster_name.empty() ? source.cluster_id : source.cluster_name);
  if (!source.mappings) return;
  const auto count = [](const auto& list) { return list ? list->size() : std::size_t{0}; };
  field(text, "Own mappings",
        fmt::format("{} networks, {} storage, {} disks", count(source.mappings->networks),
                    count(source.mappings->storage), count(source.mappings->disks)));
}

std::string spec_text(const api::VirtualMachineImport& import, const ImportView& view) {
  const api::ImportSpec& spec = import.spec;
  const std::string& ns = view.key.ns;
  std::string text = "Source:\n";
  if (spec.ovirt) describe_source(text, "ovirt", *spec.ovirt);
  if (spec.vmware) describe_source(text, "vmware", *spec.vmware);
  field(text, "Credentials", name_of(spec.credentials_secret, ns));
  if (spec.resource_mapping) field(text, "Mapping", name_of(*spec.resource_mapping, ns));
  text += "Target:\n";
  field(text, "VM", view.target_vm);
  field(text, "Start VM", spec.start_vm.value_or(false) ? "yes" : "no");
  field(text, "Warm", spec.warm ? "yes" : "");
  for (const std::string& volume : import.status.data_volumes) field(text, "Claim", volume);
  return text;
}

std::string conditions_text(const api::VirtualMachineImport& import, WallTime now) {
  if (import.status.conditions.empty()) {
    return "Conditions: none yet; is a coordinator running (vmferry up)?\n";
  }
  std::string text = "Conditions:\n";
  for (const api::Condition& condition : import.status.conditions) {
    text += fmt::format("  {}={} {} ({} ago)\n", condition.type, condition.status, condition.reason,
                        age_text(condition.last_transition_time, now));
    text += wrapped(condition.message, kTextWidth, "    ");
    if (condition.status != "False") continue;
    const std::string remedy = remedy_of(condition.reason, condition.message);
    if (!remedy.empty()) text += wrapped("remedy: " + remedy, kTextWidth, "    ");
  }
  return text;
}

std::string findings_text(const api::VirtualMachineImport& import) {
  if (import.status.findings.empty()) return "Findings: none\n";
  std::string text = "Findings:\n";
  for (const Finding& finding : import.status.findings) {
    text += fmt::format("  {:<5}  {}\n", to_string(finding.level), printable(finding.rule));
    text += wrapped(finding.text, kTextWidth, "    ");
    if (finding.remedy.empty()) continue;
    text += "    remedy:\n";
    // Line by line: YAML is to be pasted.
    std::string_view rest = finding.remedy;
    while (true) {
      const std::size_t end = rest.find('\n');
      text += fmt::format("      {}\n", printable(rest.substr(0, end)));
      if (end == std::string_view::npos) break;
      rest.remove_prefix(end + 1);
    }
  }
  return text;
}

std::string disks_text(const ImportView& view) {
  if (view.disks.empty()) return "Disks: none known yet\n";
  Table table({"NAME", "SIZE", "MOVED", "RATE", "AGENT", "ATTEMPT", "PHASE", "VERIFIED", "CLAIM"});
  std::string details;
  for (const DiskView& disk : view.disks) {
    table.add(
        {disk.name, human_bytes(disk.virtual_bytes),
         fmt::format("{} / {}", human_bytes(disk.moved_bytes), human_bytes(disk.to_move_bytes)),
         disk.bytes_per_second > 0 ? human_rate(disk.bytes_per_second) : "", disk.agent,
         fmt::format("{}", disk.attempt), disk.phase, disk.verified ? "yes" : "no", disk.claim});
    details += "  " + printable(disk.name) + "\n";
    const std::size_t before = details.size();
    const auto detail = [&](const char* name, const std::string& value) {
      if (!value.empty()) details += fmt::format("    {:<9}{}\n", name, printable(value));
    };
    detail("path", disk.source_path);
    detail("digest", disk.digest);
    detail("note", disk.note);
    detail("error", disk.last_error);
    for (const std::string& entry : disk.history) detail("history", entry);
    if (details.size() == before) details.resize(before - printable(disk.name).size() - 3);
  }
  return "Disks:\n" + table.text("  ") + (details.empty() ? "" : "Disk details:\n" + details);
}

}  // namespace

std::string describe_text(const api::VirtualMachineImport& import, const ImportView& view,
                          const std::vector<kube::Object>& events, WallTime now) {
  std::string text = fmt::format("Name:       {}\nPhase:      {}\nProgress:   {}%",
                                 view.key.to_string(), phase_text(view), view.progress);
  if (view.bytes_per_second() > 0) {
    text += fmt::format(", {}, ETA {}", human_rate(view.bytes_per_second()),
                        eta_text(view.seconds_left()));
  }
  text += fmt::format("\nAge:        {}\n", age_text(view.created_at, now));
  text += spec_text(import, view) + conditions_text(import, now) + findings_text(import) +
          disks_text(view);
  if (events.empty()) return text + "Events: none\n";
  return text + "Events:\n" +
         objects_table(kube::types::kEvent, events,
                       {.with_namespace = false, .wide = false, .now = now});
}

}  // namespace vmferry::cli
