#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/endpoint.h"
#include "common/result.h"
#include "common/vmdk_descriptor.h"
#include "coordinator/provider/source_vm.h"
#include "coordinator/provider/vmware/client.h"
#include "coordinator/provider/vmware/model.h"

// Which way leads to a disk's bytes, and the endpoint that says so to an agent (source-vmware.md 5,
// 6). Pure: the files on the datastore are read by datastore_files.h.
namespace vmferry::vmware {

enum class AccessPath { FlatFile, Vddk, ExportLease, None };

struct AccessChoice {
  AccessPath path = AccessPath::None;
  std::string reason;  // why this way; for None, why there is no way
  std::string remedy;  // None: what to do
  friend bool operator==(const AccessChoice&, const AccessChoice&) = default;
};

// VDDK where an agent has it, else the flat file, else a lease of the whole VM for export: whatever
// gives the disk's current content. `wanted` overrules that order, not what is possible: a delta, a
// raw device or an encrypted disk read as a flat file would give bytes that are not the guest's,
// and VDDK needs an agent that has it.
AccessChoice choose_access(const Device& disk, bool vddk, DiskWay wanted = DiskWay::Automatic);

// For a disk whose backing looks flat and whose files are not, or that is open by a lease already.
AccessChoice choose_export(const Device& disk, std::string_view why);

// A snapshot was taken since the disk lay in `file`, and nothing was written since: both hold the
// same content. A host gives a disk another content id with the first write.
bool is_untouched_snapshot_of(const Backing& now, std::string_view file);

// Why its bytes are not a flat file's; empty: by its backing they are.
std::string why_not_flat(const Device& disk);

// True for a disk whose current file holds what changed since a snapshot.
bool is_delta(const Device& disk);

// True when the file name says that the disk is a snapshot's delta: "name-000001.vmdk".
bool has_delta_name(std::string_view file);

// "https://host/folder/dir/name.vmdk?dcPath=DC&dsName=ds"; with `twice` the query values are
// encoded twice, as vCenter wants names that it escapes itself (source-vmware.md 6.1).
std::string folder_url(std::string_view origin, std::string_view datastore,
                       std::string_view path_in_datastore, std::string_view datacenter, bool twice);

// A file beside `file` in the same directory of the same datastore: "[ds] dir/b" for "[ds] dir/a".
std::string sibling(std::string_view file, std::string_view name);

// The files beside the descriptor that hold the disk's bytes, each once with the length that its
// extents need.
struct FlatLayout {
  struct File {
    std::string name;
    std::uint64_t size_bytes = 0;
    friend bool operator==(const File&, const File&) = default;
  };
  std::vector<File> files;
  // Whether an agent has to go by the descriptor: the disk is more than one file from its start to
  // its end, or the file's name does not tell it from a descriptor.
  bool by_descriptor = false;
  friend bool operator==(const FlatLayout&, const FlatLayout&) = default;
};
// Checked against the disk's capacity. VMF-SRC-DISK-UNSUPPORTED for deltas, sparse and encrypted
// extents; DataLoss with VMF-SRC-CHANGED when the sizes differ.
Result<FlatLayout> flat_layout(const VmdkDescriptor& descriptor, std::uint64_t capacity_bytes);

// What was found out about a disk that is read as a flat file.
struct FlatFile {
  std::string url;
  std::uint64_t size_bytes = 0;
  std::string modified;  // Last-Modified of its files
  std::string content_id;
};
DiskEndpoint make_endpoint(const ClientOptions& account, const Session& session, const VmModel& vm,
                           const Device& disk, const FlatFile& file);

// A disk that VDDK reads, or with its kind and URL changed an export lease: no file of it is looked
// at over HTTPS. `current_file`: where `disk` says what it was before a snapshot, what VDDK opens.
DiskEndpoint make_plain_endpoint(const ClientOptions& account, const Session& session,
                                 const VmModel& vm, const Device& disk,
                                 const std::string& current_file = "");

// What the reading of an endpoint made here takes of its host and server.
SourceBudget budget_of(const DiskEndpoint& endpoint, bool through_vcenter);

}  // namespace vmferry::vmware
