#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/clock.h"
#include "common/result.h"
#include "coordinator/kube/object.h"
#include "coordinator/provider/source_vm.h"

// VirtualMachineImport and ResourceMapping, v2v.kubevirt.io/v1beta1 (api.md 2-4), as plain structs.
namespace vmferry::api {

struct ObjectIdentifier {
  std::string name;
  std::optional<std::string> ns;
  // Where it is, for an import or mapping of `own`: an empty namespace is as good as none.
  const std::string& ns_or(const std::string& own) const { return ns && !ns->empty() ? *ns : own; }
  friend bool operator==(const ObjectIdentifier&, const ObjectIdentifier&) = default;
};

struct Selector {
  std::optional<std::string> id, name;
  friend bool operator==(const Selector&, const Selector&) = default;
};

struct NetworkMappingItem {
  Selector source;
  ObjectIdentifier target;
  std::optional<std::string> type;  // pod, multus
  friend bool operator==(const NetworkMappingItem&, const NetworkMappingItem&) = default;
};

struct StorageMappingItem {
  Selector source;
  ObjectIdentifier target;  // name "": force the default class
  std::optional<std::string> volume_mode, access_mode;
  std::optional<std::string> type;  // tolerated and never used (ADM-14)
  friend bool operator==(const StorageMappingItem&, const StorageMappingItem&) = default;
};

// Absent lists differ from empty ones.
struct Mappings {
  std::optional<std::vector<NetworkMappingItem>> networks;
  std::optional<std::vector<StorageMappingItem>> storage;
  std::optional<std::vector<StorageMappingItem>> disks;
  friend bool operator==(const Mappings&, const Mappings&) = default;
};

struct SourceSection {  // spec.source.ovirt or spec.source.vmware
  std::string vm_id, vm_name, cluster_id, cluster_name;
  std::optional<Mappings> mappings;
  friend bool operator==(const SourceSection&, const SourceSection&) = default;
};

struct ImportSpec {
  ObjectIdentifier credentials_secret;
  std::optional<ObjectIdentifier> resource_mapping;
  std::optional<SourceSection> ovirt, vmware;
  std::optional<std::string> target_vm_name;
  std::optional<bool> start_vm;
  bool warm = false;
  std::optional<std::string> finalize_date;
  friend bool operator==(const ImportSpec&, const ImportSpec&) = default;
};

struct Condition {
  std::string type, status, reason, message;
  std::string last_heartbeat_time, last_transition_time;
  friend bool operator==(const Condition&, const Condition&) = default;
};

// One disk of the import in status.disks[] (ours).
struct DiskStatus {
  std::string name;         // source disk's name
  std::string source_disk;  // its id
  std::string claim;
  std::string phase;  // Pending, Opening, Queued, Copying, Verifying, Done, Failed
  std::uint64_t virtual_bytes = 0, to_move_bytes = 0, moved_bytes = 0;
  std::uint64_t resumed_bytes = 0, bytes_per_second = 0;
  std::string node;  // agent
  std::uint32_t attempt = 0;
  std::string digest;
  bool verified = false;
  std::string last_error;
  std::string source_path;  // how its bytes are read: "https ranges of the flat VMDK", ...
  friend bool operator==(const DiskStatus&, const DiskStatus&) = default;
};

struct ImportStatus {
  std::string target_vm_name;
  std::vector<Condition> conditions;
  std::vector<std::string> data_volumes;
  std::vector<DiskStatus> disks;
  std::vector<Finding> findings;  // ours: of the last validation, worst first
  friend bool operator==(const ImportStatus&, const ImportStatus&) = default;
};

struct VirtualMachineImport {
  kube::Object object;  // metadata and everything we do not model
  ImportSpec spec;
  ImportStatus status;
};

struct ResourceMapping {
  std::optional<Mappings> ovirt, vmware;
};

// Total on unknown fields; InvalidArgument names the field with a wrong type. Does not check rules
// (one source, names): that is validation.
Result<VirtualMachineImport> parse_import(const kube::Object& object);
Result<ResourceMapping> parse_resource_mapping(const kube::Object& object);
// The status as it is written, complete (a merge patch replaces lists).
nlohmann::json status_to_json(const ImportStatus& status);

// At most one condition per type. New type: appended, both times = now. Else message, reason and
// heartbeat are replaced; status and transition time only when the status differs (api.md 5).
void upsert_condition(std::vector<Condition>& conditions, std::string_view type,
                      std::string_view status, std::string_view reason, std::string_view message,
                      WallTime now);
const Condition* find_condition(const std::vector<Condition>& conditions, std::string_view type);

// Predicates of lifecycle.md 2.
bool is_true(const std::vector<Condition>& conditions, std::string_view type);
bool should_start(const ImportSpec& spec, std::string_view initial_state);
bool finished(const VirtualMachineImport& import);
bool disks_done(const std::vector<Condition>& conditions);

// Annotations, labels, finalizers, spelled once (api.md 9-11).
inline constexpr std::string_view kProgress = "vmimport.v2v.kubevirt.io/progress";
inline constexpr std::string_view kInitialState =
    "vmimport.v2v.kubevirt.io/source-vm-initial-state";
inline constexpr std::string_view kPropagateAnnotations =
    "vmimport.v2v.kubevirt.io/propagate-annotations";
inline constexpr std::string_view kDiskSources = "vmimport.v2v.kubevirt.io/disk-sources";  // ours
// Ours: how long the source may take to shut down before its power is cut ("600", "90s", "10m",
// "1h"). Absent: it never is.
inline constexpr std::string_view kPowerOffAfter = "vmimport.v2v.kubevirt.io/power-off-after";
inline constexpr std::string_view kLedger = "vmimport.v2v.kubevirt.io/ledger";  // ours
inline constexpr std::string_view kTracker = "vmimport.v2v.kubevirt.io/tracker";
// On the target VM: the run strategy that is like its source's high availability; the import uses
// it when it starts the VM.
inline constexpr std::string_view kRunStrategy = "vmimport.v2v.kubevirt.io/run-strategy";
inline constexpr std::string_view kImportUid = "vmimport.v2v.kubevirt.io/import-uid";  // ours
inline constexpr std::string_view kCancelledFinalizer = "vmimport.v2v.kubevirt.io/cancelled-import";
inline constexpr std::string_view kRestoreFinalizer = "vmimport.v2v.kubevirt.io/restore-state";
inline constexpr std::string_view kCleanupFinalizer = "vmimport.v2v.kubevirt.io/cleanup";  // ours

}  // namespace vmferry::api
