#include "cli/dry_run_text.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "cli/overlay_reader.h"
#include "cli/table.h"
#include "common/bytes.h"
#include "coordinator/api/manifest.h"

namespace vmferry::cli {
namespace {

constexpr std::size_t kTextWidth = 96;

void field(std::string& text, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  text += fmt::format("  {:<10}{}\n", fmt::format("{}:", name), printable(value));
}

// Remedies may hold YAML to be pasted: their lines stay lines.
std::string indented(const std::string& text, std::string_view indent) {
  if (text.find('\n') == std::string::npos) return wrapped(text, kTextWidth, indent);
  std::string result;
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    result += fmt::format("{}{}\n", indent, printable(rest.substr(0, end)));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return result;
}

std::string findings_text(const imports::DryRun& run) {
  if (run.findings.empty()) return "Findings: none\n";
  std::string text = "Findings:\n";
  for (const FindingLevel level : {FindingLevel::Block, FindingLevel::Warn, FindingLevel::Log}) {
    const auto count = std::ranges::count(run.findings, level, &Finding::level);
    if (count == 0) continue;
    text += fmt::format("  {} ({})\n", to_string(level), count);
    for (const Finding& finding : run.findings) {
      if (finding.level != level) continue;
      text += fmt::format("    {}\n", printable(finding.rule));
      text += indented(finding.text, "      ");
      if (finding.remedy.empty()) continue;
      text += finding.remedy.find('\n') == std::string::npos
                  ? indented("remedy: " + finding.remedy, "      ")
                  : "      remedy:\n" + indented(finding.remedy, "        ");
    }
  }
  return text;
}

std::string source_text(const SourceVm& vm) {
  std::string text = "Source:\n";
  field(text, "VM", vm.inventory_path.empty() ? vm.name : vm.inventory_path);
  field(text, "Id", vm.id == vm.native_id ? vm.id : fmt::format("{} ({})", vm.id, vm.native_id));
  const bool runs = vm.power != PowerState::Down;
  field(text, "Power",
        fmt::format("{}{}", to_string(vm.power),
                    runs ? "; it would be shut down before its disks are read" : ""));
  const std::uint32_t cpus =
      vm.cpu_sockets.value_or(1) * vm.cpu_cores.value_or(1) * vm.cpu_threads.value_or(1);
  field(text, "Size",
        fmt::format("{} CPUs, {}, {} disks, {} NICs", cpus, human_bytes(vm.memory_bytes),
                    vm.disks.size(), vm.nics.size()));
  for (const auto& [name, value] : vm.details) {
    if (name == "server") field(text, "Server", value);
  }
  return text;
}

std::string networks_text(const imports::DryRun& run) {
  if (run.nics.empty()) return "Networks: the source VM has none\n";
  Table table({"NIC", "MAC", "MODEL", "NETWORK", "TARGET", "CHOSEN BY"});
  for (const imports::DryRunNic& nic : run.nics) {
    table.add({nic.name, nic.mac, nic.model, nic.network, nic.target, nic.why});
  }
  return "Networks:\n" + table.text("  ");
}

std::string disks_text(const imports::DryRun& run) {
  if (run.disks.empty()) return "Disks: none\n";
  Table table({"DISK", "STORAGE", "CLASS", "SIZE", "ALLOCATED", "CLAIM SIZE", "MODE", "CHOSEN BY"});
  for (const imports::DryRunDisk& disk : run.disks) {
    const imports::PlannedDisk& planned = disk.planned;
    table.add({planned.name, disk.storage, disk.effective_class, human_bytes(planned.size_bytes),
               disk.allocated_bytes ? human_bytes(*disk.allocated_bytes) : "",
               human_bytes(planned.request_bytes),
               fmt::format("{} {}", planned.volume_mode, planned.access_mode), disk.why});
  }
  std::string text = "Disks:\n" + table.text("  ");
  // Claims are named after the import's uid.
  const bool named = std::ranges::none_of(run.disks, [](const imports::DryRunDisk& disk) {
    return disk.planned.claim.find(kUidToCome) != std::string::npos;
  });
  for (const imports::DryRunDisk& disk : run.disks) {
    if (named) text += fmt::format("  claim of {}: {}\n", disk.planned.name, disk.planned.claim);
  }
  return text;
}

std::string estimate_text(const imports::DryRun& run, const AssumedRate& rate) {
  if (run.disks.empty()) return "";
  const imports::Estimate& estimate = run.estimate;
  std::string text =
      fmt::format("Estimate:\n  {} to copy of {} ({}), about {} at {} ({})\n",
                  human_bytes(estimate.to_copy_bytes), human_bytes(estimate.virtual_bytes),
                  estimate.all_known ? "what is allocated at the source"
                                     : "disks that do not say what is allocated count whole",
                  human_duration(estimate.seconds), human_rate(rate.bytes_per_second), rate.how);
  return text + "  then as much is read back from the target and compared\n";
}

}  // namespace

std::string dry_run_text(const imports::DryRun& run, const AssumedRate& rate, bool show_vm) {
  std::string text = fmt::format("{}: {}\n", run.import.to_string(), to_string(run.verdict));
  if (!run.unknown_why.empty()) text += indented(run.unknown_why, "  ");
  text += findings_text(run);
  if (run.source) text += source_text(*run.source);
  if (!run.vm_name.empty()) {
    text += "Target:\n";
    field(text, "VM", fmt::format("{}/{}", run.import.ns, run.vm_name));
    field(text, "OS", run.os.empty() ? run.os_why : fmt::format("{}: {}", run.os, run.os_why));
    field(text, "Template", run.template_note);
  }
  if (run.source) text += networks_text(run) + disks_text(run) + estimate_text(run, rate);
  if (!run.notes.empty()) text += "Notes:\n";
  for (const std::string& note : run.notes) text += wrapped(note, kTextWidth, "  ");
  if (show_vm && run.vm) {
    text += "VirtualMachine:\n";
    text += indented(api::to_yaml(*run.vm), "  ");
  }
  return text;
}

}  // namespace vmferry::cli
