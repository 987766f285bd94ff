#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "common/clock.h"
#include "common/log.h"
#include "coordinator/provider/ovirt/client.h"
#include "coordinator/provider/ovirt/model.h"
#include "coordinator/provider/ovirt/transfer_memory.h"

// Image transfers: what makes a disk readable (source-ovirt.md 3). No call waits for a phase; each
// looks where the transfer stands, does what that demands, and says so.
namespace vmferry::ovirt {

inline constexpr std::int64_t kInactivitySeconds = 3600;

// What a phase means, whatever the engine's version calls it.
enum class PhaseGroup {
  Starting,    // initializing, resuming
  Ready,       // transferring
  Paused,      // paused_system, paused_user
  Finalizing,  // on its way to an end
  Ended,       // finished_*, cancelled*
  Unknown,     // a word of a later engine
};
PhaseGroup phase_group(std::string_view phase);

// A download of this disk that carries our marks and has not ended.
bool is_ours(const ImageTransfer& transfer, const std::string& disk_id);

// The marks of a request: at most 50 characters, the engine's limit.
std::string correlation_of(const std::string& owner);

// The disk that an import opened: its id, and the size in bytes that it was planned with.
struct WantedDisk {
  std::string id;
  std::uint64_t size_bytes = 0;
};

// Thread-safe. A handle is the id of the first transfer of an opening; the transfer behind it may
// be replaced by another one when the engine, or somebody, ends it while the disk is copied.
class ImageTransfers {
 public:
  ImageTransfers(Client& client, const Clock& clock, Logger log)
      : client_(client), clock_(clock), log_(std::move(log)) {}

  // A handle of this disk: of a transfer of ours that is under way, else of a new one. Errors:
  // NotFound VMF-SRC-DISK-MISSING, InvalidArgument VMF-SRC-DISK-UNSUPPORTED, DataLoss
  // VMF-SRC-CHANGED (it has another size), Unavailable VMF-SRC-DISK-LOCKED, Unavailable
  // VMF-SRC-VM-STATE (the machine runs).
  Result<std::string> open(const WantedDisk& wanted, const std::string& owner,
                           std::stop_token stop);

  // The transfer when it is ready, with one URL at least; nothing while it starts. Unavailable when
  // it failed (a new one may succeed): it has been cancelled then, or is gone.
  Result<std::optional<ImageTransfer>> poll(const std::string& handle, const std::string& disk_id,
                                            std::stop_token stop);

  // Extends, resumes or replaces it. Unavailable while that goes on: ask again. PermissionDenied
  // with VMF-XFER-TICKET-EXPIRED when it was replaced too often; else as open().
  Result<ImageTransfer> renew(const std::string& handle, const WantedDisk& wanted,
                              std::stop_token stop);

  // Extends a transfer that is ready before its ticket ends, whether an agent reads from it or it
  // waits for one. Best effort: one that cannot be extended is renewed once its host refuses it.
  void keep_alive(const std::string& handle, std::stop_token stop);

  // Ends it: finalizes, or cancels where that is refused. True when it is gone and the disk is
  // free again, or only held by another import; false: ask again later. An empty handle stands for
  // whatever `owner` has on `disk_id`.
  Result<bool> release(const std::string& handle, const std::string& disk_id,
                       const std::string& owner, std::stop_token stop);

 private:
  // Transfers of a disk that have our marks and have not ended.
  struct Ours {
    std::optional<ImageTransfer> mine;
    bool taken = false;  // another import reads the disk
  };
  Result<Disk> transferable_disk(const WantedDisk& wanted, std::stop_token stop);
  Result<std::optional<ImageTransfer>> find(const std::string& id, std::stop_token stop);
  Result<Ours> find_ours(const std::string& disk_id, const std::string& handle,
                         const std::string& owner, std::stop_token stop);
  Result<std::string> obtain(const WantedDisk& wanted, const std::string& handle,
                             const std::string& owner, std::stop_token stop);
  Result<std::string> create(const Disk& disk, const std::string& owner, std::stop_token stop);
  // An action without parameters; the answer may be a refusal.
  Result<Reply> act(const std::string& id, const std::string& action, std::stop_token stop);
  void cancel(const std::string& id, std::stop_token stop);
  Error failed(const ImageTransfer& transfer, std::stop_token stop);
  Result<bool> is_disk_free(const std::string& disk_id, std::stop_token stop);
  Result<bool> close(const ImageTransfer& transfer, std::stop_token stop);
  std::string host_name(const std::string& id, std::stop_token stop);

  // Parts of renew().
  Result<ImageTransfer> extend(const ImageTransfer& transfer, std::stop_token stop);
  Error resume(const ImageTransfer& transfer, std::stop_token stop);
  Error give_up(const ImageTransfer& transfer, std::string_view why, std::stop_token stop);
  Error restart(const std::string& handle, const WantedDisk& wanted, std::string_view why,
                std::stop_token stop);

  Client& client_;
  const Clock& clock_;
  const Logger log_;
  TransferMemory memory_{clock_};
};

}  // namespace vmferry::ovirt
