#include "coordinator/provider/source_vm.h"

#include "coordinator/provider/finding_words.h"

namespace vmferry {

std::string_view to_string(ProviderKind kind) {
  switch (kind) {
    case ProviderKind::Ovirt:
      return "ovirt";
    case ProviderKind::Vmware:
      return "vmware";
  }
  return "unknown";
}

std::string_view to_string(FindingLevel level) {
  switch (level) {
    case FindingLevel::Log:
      return "log";
    case FindingLevel::Warn:
      return "warn";
    case FindingLevel::Block:
      return "block";
  }
  return "unknown";
}

std::optional<FindingLevel> parse_finding_level(std::string_view text) {
  for (const FindingLevel level : {FindingLevel::Log, FindingLevel::Warn, FindingLevel::Block}) {
    if (text == to_string(level)) return level;
  }
  return std::nullopt;
}

std::string_view to_string(FindingGroup group) {
  switch (group) {
    case FindingGroup::Mapping:
      return "mapping";
    case FindingGroup::Rules:
      return "rules";
  }
  return "unknown";
}

std::string_view to_string(PowerState state) {
  switch (state) {
    case PowerState::Up:
      return "up";
    case PowerState::Down:
      return "down";
    case PowerState::Suspended:
      return "suspended";
    case PowerState::Changing:
      return "changing";
    case PowerState::Unknown:
      return "unknown";
  }
  return "unknown";
}

std::string_view to_string(DiskWay way) {
  switch (way) {
    case DiskWay::Automatic:
      return "automatic";
    case DiskWay::FlatFile:
      return "https";
    case DiskWay::Vddk:
      return "vddk";
    case DiskWay::ExportLease:
      return "export";
    case DiskWay::Elsewhere:
      return "elsewhere";
  }
  return "unknown";
}

DiskWay way_of(const DiskWays& ways, const std::string& disk_id, const std::string& disk_name) {
  for (const std::string& key : {disk_id, disk_name, std::string("*")}) {
    if (const auto found = ways.find(key); found != ways.end()) return found->second;
  }
  return DiskWay::Automatic;
}

}  // namespace vmferry
