#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "coordinator/api/import.h"
#include "coordinator/fleet/fleet.h"

namespace vmferry::cli {

// One disk of an import as a person sees it: what the API holds, overlaid with live telemetry.
struct DiskView {
  std::string name, claim, phase;
  std::uint64_t virtual_bytes = 0, to_move_bytes = 0, moved_bytes = 0;
  std::uint64_t resumed_bytes = 0, verified_bytes = 0;
  double bytes_per_second = 0;
  std::string agent;
  std::uint32_t attempt = 0;
  std::string digest;
  bool verified = false;
  std::string source_path;
  std::string note;  // what is special right now: taken over, resumed, waiting for ...
  std::string last_error;
  std::vector<std::string> history;  // earlier attempts, newest last
  friend bool operator==(const DiskView&, const DiskView&) = default;
};

enum class ImportOutcome {
  Running,
  Blocked,  // a check says no; goes on by itself once the cause is removed
  Succeeded,
  Failed,
  Gone,  // deleted
};

struct ImportView {
  kube::ObjectKey key;
  std::string uid;
  std::string target_vm;
  std::string source;  // "vmware web01"
  ImportOutcome outcome = ImportOutcome::Running;
  std::string reason;   // of the condition that tells most
  std::string message;  // of that condition; of all that block, joined by newlines
  int progress = 0;     // percent, from the annotation
  bool deleting = false;
  std::string created_at;
  std::vector<DiskView> disks;

  std::uint64_t moved_bytes() const;
  std::uint64_t to_move_bytes() const;
  double bytes_per_second() const;
  std::optional<double> seconds_left() const;  // nothing: cannot be told
  bool ended() const { return outcome >= ImportOutcome::Succeeded; }
  friend bool operator==(const ImportView&, const ImportView&) = default;
};

// `transfers`: what the coordinator told of any imports; empty when none runs.
ImportView view_of(const api::VirtualMachineImport& import,
                   const std::vector<TransferView>& transfers);

// One word for a table: "CopyingDisks", "Succeeded", "Blocked(IncompleteMappingRules)".
std::string phase_text(const ImportView& view);
// "12 s" and the like; "-" when it cannot be told.
std::string eta_text(std::optional<double> seconds_left);
std::optional<double> seconds_left(std::uint64_t bytes_left, double bytes_per_second);

// What a person does about a condition: the remedy of the catalogue code in its message, else of
// its reason; empty when the message tells it already or nothing is known.
std::string remedy_of(std::string_view reason, std::string_view message);

}  // namespace vmferry::cli
