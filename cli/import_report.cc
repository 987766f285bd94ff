#include "cli/import_report.h"

#include <algorithm>

#include "cli/table.h"
#include "common/bytes.h"

namespace vmferry::cli {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::size_t start = 0;
  while (start <= text.size()) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    if (end > start) lines.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return lines;
}

const char* count_word(std::size_t count) { return count == 1 ? "disk" : "disks"; }

}  // namespace

std::string outcome_text(const ImportView& import) {
  std::string text = fmt::format("{}: {}\n", import.key.to_string(), phase_text(import));
  for (const std::string& line : lines_of(import.message)) {
    text += "  " + printable(line) + "\n";
  }
  for (const DiskView& disk : import.disks) {
    if (disk.last_error.empty() || disk.phase == "Done") continue;
    text += fmt::format("  disk {}: {}\n", printable(disk.name), printable(disk.last_error));
  }
  const std::string remedy = remedy_of(import.reason, import.message);
  const bool trouble =
      import.outcome == ImportOutcome::Blocked || import.outcome == ImportOutcome::Failed;
  if (trouble && !remedy.empty()) text += "  remedy: " + remedy + "\n";
  return text;
}

std::string summary_text(const std::vector<ImportView>& imports,
                         const std::map<kube::ObjectKey, std::string>& manifests, double seconds) {
  std::string text;
  std::size_t succeeded = 0, disks = 0, verified = 0;
  std::uint64_t moved = 0, resumed = 0;
  for (const ImportView& import : imports) {
    disks += import.disks.size();
    moved += import.moved_bytes();
    for (const DiskView& disk : import.disks) {
      verified += disk.verified ? 1 : 0;
      resumed += disk.resumed_bytes;
    }
    if (import.outcome != ImportOutcome::Succeeded) {
      text += outcome_text(import);
      continue;
    }
    ++succeeded;
    text += fmt::format("{}: succeeded, VM {}, {} {}, {}\n", import.key.to_string(),
                        import.target_vm, import.disks.size(), count_word(import.disks.size()),
                        human_bytes(import.moved_bytes()));
    for (const DiskView& disk : import.disks) {
      text += fmt::format("  {}  {}  {}  {}\n", printable(disk.name),
                          human_bytes(disk.virtual_bytes), disk.digest.empty() ? "-" : disk.digest,
                          disk.verified ? "verified" : "not verified");
    }
    const auto manifest = manifests.find(import.key);
    if (manifest != manifests.end()) text += fmt::format("  manifest  {}\n", manifest->second);
  }
  text +=
      fmt::format("{} of {} imports succeeded, {} of {} disks verified, {} in {} ({})", succeeded,
                  imports.size(), verified, disks, human_bytes(moved), human_duration(seconds),
                  human_rate(seconds > 0 ? static_cast<double>(moved) / seconds : 0));
  if (resumed > 0) text += ", " + human_bytes(resumed) + " of it resumed";
  return text + "\n";
}

}  // namespace vmferry::cli
