#include "coordinator/imports/disk_ways.h"

#include <algorithm>

#include "coordinator/fleet/placement.h"

namespace vmferry::imports {

bool has_vddk(const Pass& pass) { return agents_there(pass.parts.fleet.agents(), {}).vddk; }

AgentsThere agents_there(const std::vector<AgentView>& agents,
                         const std::vector<std::string>& nodes) {
  AgentsThere there;
  for (const AgentView& agent : agents) {
    if (!agent.connected || agent.draining || !reaches(agent.node, nodes)) continue;
    there.any = true;
    there.vddk = there.vddk || agent.vddk;
  }
  return there;
}

std::optional<WayChoice> way_of_earlier_version(const std::string& handle,
                                                const SourceIdentityText& identity,
                                                std::string_view source_path) {
  constexpr std::string_view kWhy = "as it was begun";
  if (!handle.empty()) return WayChoice{DiskWay::ExportLease, std::string(kWhy)};
  // Its lease had ended when that version did.
  if (source_path.starts_with("NFC export stream")) {
    return WayChoice{DiskWay::ExportLease, std::string(kWhy)};
  }
  if (identity.empty()) return std::nullopt;
  const bool flat =
      std::ranges::any_of(identity, [](const auto& part) { return part.first == "file bytes"; });
  return WayChoice{flat ? DiskWay::FlatFile : DiskWay::Vddk, std::string(kWhy)};
}

std::optional<WayChoice> way_of(Pass& pass, const SourceDisk& disk, DiskWay asked) {
  WayChoice& kept = pass.ledger.ways[disk.id];
  const auto opening = pass.ledger.openings.find(disk.id);
  const std::string handle = opening == pass.ledger.openings.end() ? "" : opening->second;
  if (kept.way == DiskWay::Automatic) {
    const auto identity = pass.ledger.identities.find(disk.id);
    const auto& disks = pass.import.status.disks;
    const auto status = std::ranges::find(disks, disk.id, &api::DiskStatus::source_disk);
    if (identity != pass.ledger.identities.end()) {
      kept = way_of_earlier_version(handle, identity->second,
                                    status == disks.end() ? "" : status->source_path)
                 .value_or(WayChoice{});
    } else if (!handle.empty()) {
      kept = *way_of_earlier_version(handle, {}, "");
    }
  }
  // A person may change his mind, while nothing of the way chosen before is open at the source.
  if (asked != DiskWay::Automatic && asked != kept.way && handle.empty()) {
    kept = {asked, std::string(asked == DiskWay::Vddk ? "VDDK, as asked for" : "as asked for")};
  }
  if (kept.way != DiskWay::Automatic) return kept;
  pass.ledger.ways.erase(disk.id);
  return std::nullopt;
}

Result<bool> choose_way(Pass& pass, const SourceDisk& disk, const std::vector<std::string>& nodes,
                        std::string& waiting_for) {
  SourceDisk wanted = disk;
  // The configuration's wish; an import's own is no choice at all.
  if (pass.parts.settings.vddk) wanted.way = DiskWay::Vddk;
  const AgentsThere there = agents_there(pass.parts.fleet.agents(), nodes);
  if (!there.vddk && !(there.any && pass.parts.fleet.settled())) {
    waiting_for = there.any || !pass.parts.fleet.settled()
                      ? "the agents that can write its target to tell whether they have VDDK"
                  : nodes.empty() ? "an agent"
                                  : fmt::format("an agent on a node that reaches the target ({})",
                                                fmt::join(nodes, ", "));
    return false;
  }
  WayChoice chosen = TRY(pass.provider->choose_way(*pass.memory.vm, wanted, there.vddk, pass.stop));
  if (chosen.way == DiskWay::Automatic) {
    return make_error(ErrorKind::Internal, "disk '{}': the source chose no way to read it",
                      disk.name);
  }
  pass.ledger.ways[disk.id] = std::move(chosen);
  return true;
}

}  // namespace vmferry::imports
