#pragma once

#include <optional>
#include <string>
#include <vector>

#include "coordinator/imports/disk_overrides.h"
#include "coordinator/imports/pass.h"

// Which way each disk of a VMware VM is read: chosen once, kept in the ledger with the intent to
// open it, and kept to at every reopening, whatever agents come and go meanwhile.
namespace vmferry::imports {

// Whether an agent has VDDK, as it says itself.
bool has_vddk(const Pass& pass);

// What the agents that can write one volume are, as far as it is known.
struct AgentsThere {
  bool any = false;   // one is connected
  bool vddk = false;  // one that has VDDK is
  friend bool operator==(const AgentsThere&, const AgentsThere&) = default;
};
// `nodes` as ReachableVolume has them; empty: any.
AgentsThere agents_there(const std::vector<AgentView>& agents,
                         const std::vector<std::string>& nodes);

// The way that a ledger of an earlier version shows, which did not write it down: an export lease
// has a handle, or is what `source_path` of the status tells; only a flat file's identity tells of
// its time. Nothing: nothing was begun.
std::optional<WayChoice> way_of_earlier_version(const std::string& handle,
                                                const SourceIdentityText& identity,
                                                std::string_view source_path = "");

// How the disk is read: as the import asks for it by now, else as it was chosen before. Nothing: it
// has to be chosen by what the agents have. What is new goes into the ledger, which is not saved.
std::optional<WayChoice> way_of(Pass& pass, const SourceDisk& disk, DiskWay asked);

// Chooses it; `nodes` are those that reach the disk's target. False: nobody knows yet what the
// agents have; `waiting_for` tells. Errors as Provider::choose_way.
Result<bool> choose_way(Pass& pass, const SourceDisk& disk, const std::vector<std::string>& nodes,
                        std::string& waiting_for);

}  // namespace vmferry::imports
