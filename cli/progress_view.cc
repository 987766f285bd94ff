#include "cli/progress_view.h"

#include <algorithm>
#include <cmath>

#include "cli/table.h"
#include "common/bytes.h"

namespace vmferry::cli {
namespace {

constexpr std::size_t kNarrow = 60;  // below that: names and percentages only
constexpr std::size_t kMaxName = 24;

double share_of(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

// Verification reads everything again: the bar starts over and the phase says why.
double share_of(const DiskView& disk) {
  if (disk.phase == "Done") return 1;
  if (disk.phase == "Verifying") return share_of(disk.verified_bytes, disk.virtual_bytes);
  return share_of(disk.moved_bytes, disk.to_move_bytes);
}

double share_of(const ImportView& import) {
  if (import.outcome == ImportOutcome::Succeeded) return 1;
  const double moved = share_of(import.moved_bytes(), import.to_move_bytes());
  return import.to_move_bytes() > 0 ? moved : import.progress / 100.0;
}

// Rounded down, so that 100% means all of it.
std::string percent(double share) {
  return fmt::format("{:3.0f}%", std::floor(std::clamp(share, 0.0, 1.0) * 100));
}

std::string padded(std::string text, std::size_t width) {
  text = fitted(text, width);
  text.append(width - std::min(width, text_width(text)), ' ');
  return text;
}

std::string bytes_text(std::uint64_t moved, std::uint64_t to_move) {
  return fmt::format("{} / {}", human_bytes(moved), human_bytes(to_move));
}

const char* color_of(const ImportView& import) {
  switch (import.outcome) {
    case ImportOutcome::Succeeded:
      return "\x1b[32m";
    case ImportOutcome::Failed:
      return "\x1b[31m";
    case ImportOutcome::Blocked:
      return "\x1b[33m";
    default:
      return "\x1b[1m";
  }
}

// It has failed or is deleted, and is there still: what that waits for is in its message.
bool is_being_undone(const ImportView& import) {
  return import.outcome == ImportOutcome::Running &&
         (import.reason == "ProcessingFailed" || (import.deleting && import.reason == "Pending"));
}

std::string trimmed(std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  return line;
}

std::string head_line(const ImportView& import, const ProgressStyle& style) {
  std::string line = import.key.to_string() + "  " + phase_text(import);
  if (!import.ended()) {
    if (style.width >= kNarrow) {
      line += "  " + bar(share_of(import), 16) + " " + percent(share_of(import));
      line += "  " + human_rate(import.bytes_per_second());
      if (const auto left = import.seconds_left()) line += "  ETA " + eta_text(left);
    } else {
      line += " " + percent(share_of(import));
    }
  } else if (import.to_move_bytes() > 0) {
    line += "  " + bytes_text(import.moved_bytes(), import.to_move_bytes());
  }
  return fitted(trimmed(line), style.width);
}

std::string disk_line(const DiskView& disk, std::size_t name_width, const ProgressStyle& style) {
  const double share = share_of(disk);
  if (style.width < kNarrow) {
    return fitted(
        trimmed(fmt::format("  {} {} {}", padded(disk.name, std::min<std::size_t>(name_width, 12)),
                            percent(share), disk.phase)),
        style.width);
  }
  const std::size_t bar_width = style.width >= 120 ? 26 : 12;
  std::string line =
      fmt::format("  {}  {} {}  {}", padded(disk.name, name_width), bar(share, bar_width),
                  percent(share), padded(bytes_text(disk.moved_bytes, disk.to_move_bytes), 21));
  if (disk.phase == "Copying") {
    line += "  " + padded(human_rate(disk.bytes_per_second), 11);
    const std::uint64_t left = disk.to_move_bytes - std::min(disk.to_move_bytes, disk.moved_bytes);
    line += " " + padded(eta_text(seconds_left(left, disk.bytes_per_second)), 8);
  } else {
    const bool verified = disk.phase == "Done" && disk.verified;
    line += "  " + padded(verified ? "Done, verified" : disk.phase, 20);
  }
  line += " " + disk.agent;
  if (!disk.note.empty()) line += "  " + disk.note;
  return fitted(trimmed(line), style.width);
}

}  // namespace

std::string bar(double share, std::size_t width) {
  const std::size_t inside = width > 2 ? width - 2 : 0;
  const double cut = std::isfinite(share) ? std::clamp(share, 0.0, 1.0) : 0.0;
  const auto filled = static_cast<std::size_t>(std::floor(cut * static_cast<double>(inside)));
  return "[" + std::string(filled, '#') + std::string(inside - filled, '-') + "]";
}

std::vector<std::string> progress_lines(const std::vector<ImportView>& imports,
                                        const ProgressStyle& style) {
  std::size_t name_width = 4;
  std::size_t all = 0;
  for (const ImportView& import : imports) {
    all += 1 + import.disks.size();
    for (const DiskView& disk : import.disks) {
      name_width = std::clamp(text_width(disk.name), name_width, kMaxName);
    }
  }
  const bool crowded = style.height > 0 && all > style.height;
  std::vector<std::string> lines;
  for (const ImportView& import : imports) {
    std::string head = head_line(import, style);
    if (style.color) head = color_of(import) + head + "\x1b[0m";
    lines.push_back(std::move(head));
    if (crowded && import.ended()) continue;
    for (const DiskView& disk : import.disks) {
      lines.push_back(disk_line(disk, name_width, style));
    }
    const bool explain = import.outcome == ImportOutcome::Blocked ||
                         import.outcome == ImportOutcome::Failed || is_being_undone(import);
    if (explain && !import.message.empty()) {
      lines.push_back(fitted("  " + import.message, style.width));
    }
  }
  if (style.height > 0 && lines.size() > style.height) {
    const std::size_t hidden = lines.size() - style.height + 1;
    lines.resize(style.height - 1);
    lines.push_back(fitted(fmt::format("  ... {} more lines", hidden), style.width));
  }
  return lines;
}

std::vector<std::string> plain_lines(const std::vector<ImportView>& imports) {
  std::vector<std::string> lines;
  for (const ImportView& import : imports) {
    const std::string name = import.key.to_string();
    std::string head = fmt::format("{}: {}", name, phase_text(import));
    const bool explain = import.outcome != ImportOutcome::Running || is_being_undone(import);
    if (explain && !import.message.empty()) head += ": " + import.message;
    lines.push_back(printable(head));
    for (const DiskView& disk : import.disks) {
      std::string line =
          fmt::format("{} {}: {} {} of {}", name, disk.name, disk.phase,
                      human_bytes(disk.moved_bytes), human_bytes(disk.to_move_bytes));
      if (disk.bytes_per_second > 0) line += ", " + human_rate(disk.bytes_per_second);
      if (!disk.agent.empty()) line += ", " + disk.agent;
      if (!disk.note.empty()) line += ", " + disk.note;
      if (disk.verified) line += ", verified";
      lines.push_back(printable(line));
    }
  }
  return lines;
}

std::string final_line(const ImportView& import) {
  const std::string name = import.key.to_string();
  switch (import.outcome) {
    case ImportOutcome::Succeeded: {
      const auto verified = std::ranges::count_if(import.disks, &DiskView::verified);
      return fmt::format("{}: succeeded, VM {}, {} of {} disks verified, {} moved", name,
                         import.target_vm, verified, import.disks.size(),
                         human_bytes(import.moved_bytes()));
    }
    case ImportOutcome::Gone:
      return name + ": deleted";
    case ImportOutcome::Running:
      return fmt::format("{}: still running ({})", name, phase_text(import));
    default:
      break;
  }
  const char* word = import.outcome == ImportOutcome::Failed ? "failed" : "blocked";
  return printable(fmt::format("{}: {}, {}: {}", name, word, import.reason, import.message));
}

}  // namespace vmferry::cli
