#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "common/endpoint.h"
#include "common/log.h"
#include "common/result.h"
#include "coordinator/provider/listing.h"
#include "coordinator/provider/source_budget.h"
#include "coordinator/provider/source_vm.h"

namespace vmferry {

// Which VM a user means; `id` wins over `name`.
struct VmRef {
  std::string id;
  std::string name;
  std::string cluster_id;    // oVirt
  std::string cluster_name;  // oVirt
  bool vddk = false;         // VMware: an agent has VDDK, so what only that can read is no obstacle
  bool warm = false;         // VMware: judge the VM for a warm import too
  bool may_cut_power = false;  // VMware: the import may, so tools are not needed to stop the VM
  DiskWays ways = {};  // VMware: that the import asks for, to be judged before it is stopped
  friend bool operator==(const VmRef&, const VmRef&) = default;
};

// What a credentials secret says, parsed (api.md 7).
struct ProviderCredentials {
  ProviderKind kind = ProviderKind::Vmware;
  std::string api_url;
  std::string username;
  SecretString password;
  std::string ca_pem;      // oVirt; empty: system store
  std::string thumbprint;  // VMware; empty: verify by CA
  friend bool operator==(const ProviderCredentials&, const ProviderCredentials&) = default;
};

// A source disk that is being made readable. `handle` names the side object on the source (an image
// transfer, a lease; empty where there is none) and goes into the ledger.
struct DiskOpening {
  std::string handle;
  std::optional<DiskEndpoint> endpoint;  // nothing yet: call poll_disk again later
  std::string why{};                     // why the disk is read in this way; for people
  std::string source_host{};             // that serves its bytes, where known: has a budget
  SourceBudget budget{};                 // what reading it takes of host and server
};

// How a disk is read, and why; for people.
struct WayChoice {
  DiskWay way = DiskWay::Automatic;
  std::string why;
  friend bool operator==(const WayChoice&, const WayChoice&) = default;
};

// A source of VMs. Every call is bounded in time (at most about two minutes against a peer that
// hangs, seconds otherwise) and none waits for a remote state to change: the reconciler comes back.
// Thread-safe; one instance per endpoint and user is shared by all imports of it and keeps its
// session alive. Errors carry catalogue codes: VMF-SRC-UNREACHABLE, -AUTH, -TLS, -VM-NOT-FOUND,
// -VM-AMBIGUOUS, -DISK-MISSING, -DISK-LOCKED, ...
class Provider {
 public:
  virtual ~Provider() = default;

  virtual ProviderKind kind() const = 0;
  // Logs in and reads what kind of server answers. For the connection test of a new import.
  virtual Result<void> check_connection(std::stop_token stop) = 0;
  // Reads the VM afresh. NotFound with VMF-SRC-VM-NOT-FOUND; InvalidArgument with
  // VMF-SRC-VM-AMBIGUOUS listing the candidates.
  virtual Result<SourceVm> find_vm(const VmRef& ref, std::stop_token stop) = 0;

  // Everything of that kind that the user may see, for people to choose from. InvalidArgument for a
  // kind that this sort of source does not have. Reads page by page and stops at 100,000 rows with
  // ResourceExhausted.
  virtual Result<Listing> list(ListingKind kind, std::stop_token stop);

  virtual Result<PowerState> power_state(const std::string& native_id, std::stop_token stop) = 0;
  // Asks the guest to shut down (or, with force, cuts the power); returns when the request is
  // accepted. Success when it is already down.
  virtual Result<void> request_stop(const std::string& native_id, bool force,
                                    std::stop_token stop) = 0;
  // Starts the VM; success when it already runs. Unavailable with VMF-SRC-DISK-LOCKED while a disk
  // is still locked by a transfer.
  virtual Result<void> start(const std::string& native_id, std::stop_token stop) = 0;

  // Chooses how a disk of a stopped VM is read, by what it is and whether an agent has VDDK
  // (`vddk`). The caller keeps the choice and has the disk opened in that way from then on.
  // Unavailable with VMF-SRC-VDDK-AGENT: only VDDK can read it; InvalidArgument with
  // VMF-SRC-DISK-UNSUPPORTED: nothing can.
  virtual Result<WayChoice> choose_way(const SourceVm& vm, const SourceDisk& disk, bool vddk,
                                       std::stop_token stop);
  // Makes one disk of a stopped VM readable, in the way that `disk` names. The caller has written
  // its intent into the ledger; an unfinished opening of ours for the same disk, from before a
  // crash, is adopted
  // (`owner` is the import's UID and marks what is ours where the source can hold a mark).
  virtual Result<DiskOpening> open_disk(const SourceVm& vm, const SourceDisk& disk,
                                        const std::string& owner, std::stop_token stop) = 0;
  // Where an opening stands; also after a restart of the coordinator.
  virtual Result<DiskOpening> poll_disk(const SourceVm& vm, const SourceDisk& disk,
                                        const std::string& handle, std::stop_token stop) = 0;
  // The same with fresh credentials, for a running transfer whose old ones were refused. It has an
  // endpoint; Unavailable while the source has none yet.
  virtual Result<DiskOpening> renew(const SourceVm& vm, const SourceDisk& disk,
                                    const std::string& handle, std::stop_token stop) = 0;
  // How far the transfers of an opening have come, for a source that must hear of it to keep the
  // opening alive (an export lease). Never blocks.
  virtual void report_progress(const std::string& handle, int percent);
  // Called again and again while an opened disk waits for an agent or is copied, for a source whose
  // permission to read ends unless it is prolonged. One short request now and then, at most.
  virtual void keep_open(const std::string& handle, std::stop_token stop);
  // What must be as it was for a copy that has begun to be continued: names and values as in an
  // endpoint's identity. Empty where the source keeps an opened disk from changing.
  virtual Result<std::vector<std::pair<std::string, std::string>>> disk_identity(
      const SourceVm& vm, const SourceDisk& disk, std::stop_token stop);
  // Ends an opening; true when it is gone for good, false: call again later. Idempotent.
  // Disks may share an opening: then it is ended once, with the last of them.
  // `disk_id` serves to find an opening whose handle was lost in a crash (empty handle).
  virtual Result<bool> release_disk(const std::string& handle, const std::string& disk_id,
                                    const std::string& owner, bool success,
                                    std::stop_token stop) = 0;
  // Ends what this process has opened and the session.
  virtual void close() = 0;
  // Ends the session alone. What it opened is in ledgers, and may be another provider's by now.
  virtual void log_out() { close(); }
};

// The one place that knows which class serves which kind.
Result<std::unique_ptr<Provider>> make_provider(const ProviderCredentials& credentials,
                                                const Logger& log);

// One per provider directory: provider/vmware/vmware_provider.cc, provider/ovirt/ovirt_provider.cc.
Result<std::unique_ptr<Provider>> make_vmware_provider(const ProviderCredentials& credentials,
                                                       const Logger& log);
Result<std::unique_ptr<Provider>> make_ovirt_provider(const ProviderCredentials& credentials,
                                                      const Logger& log);

}  // namespace vmferry
