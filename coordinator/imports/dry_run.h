#pragma once

#include <optional>
#include <string>
#include <vector>

#include "coordinator/api/import.h"
#include "coordinator/imports/cluster_facts.h"
#include "coordinator/imports/plan.h"
#include "coordinator/provider/source_vm.h"

// What one import would do, told to people before anything is done. Pure: it explains decisions,
// which the functions that the reconciler uses have made (decide.h, mapping.h); reading is
// rehearse.h.
namespace vmferry::imports {

enum class Verdict { Runs, Blocked, Unknown };
std::string_view to_string(Verdict verdict);  // "would run", "blocked", "could not tell"

struct DryRunNic {
  std::string name, mac, model;
  std::string network;  // at the source, name or id
  std::string target;   // "pod network", "multus default/vlan7"; empty: none
  std::string why;      // which mapping item chose it, or why the NIC is left out
  friend bool operator==(const DryRunNic&, const DryRunNic&) = default;
};

struct DryRunDisk {
  PlannedDisk planned;
  std::string storage;                           // at the source, name or id
  std::string effective_class;                   // with the cluster's default filled in
  std::string why;                               // which mapping item or default chose it
  std::optional<std::uint64_t> allocated_bytes;  // on the source, where it says
  friend bool operator==(const DryRunDisk&, const DryRunDisk&) = default;
};

// How long the disks take at a rate.
struct Estimate {
  std::uint64_t virtual_bytes = 0;
  std::uint64_t to_copy_bytes = 0;  // allocated ones; a disk that does not say counts whole
  bool all_known = true;            // every disk says what is allocated
  double seconds = 0;
  friend bool operator==(const Estimate&, const Estimate&) = default;
};

struct DryRun {
  kube::ObjectKey import;
  Verdict verdict = Verdict::Unknown;
  std::string unknown_why;        // Unknown: what could not be read
  std::vector<Finding> findings;  // worst first, else in the order of checks
  std::optional<SourceVm> source;
  std::string vm_name;
  std::string os, os_why, template_note;
  std::vector<DryRunNic> nics;
  std::vector<DryRunDisk> disks;
  Estimate estimate;
  std::optional<kube::Object> vm;  // as it would be created
  std::vector<std::string> notes;  // what this run cannot know
};

// Everything that was read and decided; what is absent was not reached.
struct DryRunInput {
  const api::VirtualMachineImport& import;
  std::vector<Finding> findings;
  std::string unknown_why;
  std::optional<SourceVm> source = {};
  api::Mappings mappings = {};  // merged
  ClusterFacts facts = {};
  std::string vm_name = {};
  std::vector<PlannedDisk> disks = {};
  std::string os = {}, os_why = {}, template_note = {};
  std::optional<kube::Object> vm = {};
  double bytes_per_second = 0;
};
DryRun dry_run(DryRunInput input);

// For `-o json|yaml`: all of it, sizes in bytes.
nlohmann::json to_json(const DryRun& run);

}  // namespace vmferry::imports
