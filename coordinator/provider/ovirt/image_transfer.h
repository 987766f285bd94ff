#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <stop_token>
#include <string>

#include "common/clock.h"
#include "common/guarded.h"
#include "common/log.h"
#include "coordinator/provider/ovirt/client.h"
#include "coordinator/provider/ovirt/model.h"

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

// Thread-safe. What it remembers about a transfer (how long it starts, when it was finalized) only
// serves patience; after a restart patience starts afresh.
class ImageTransfers {
 public:
  ImageTransfers(Client& client, const Clock& clock, Logger log)
      : client_(client), clock_(clock), log_(std::move(log)) {}

  // The id of a transfer of this disk: one of ours that is under way, else a new one. Errors:
  // NotFound VMF-SRC-DISK-MISSING, InvalidArgument VMF-SRC-DISK-UNSUPPORTED, Unavailable
  // VMF-SRC-DISK-LOCKED, Unavailable VMF-SRC-VM-STATE (the machine runs).
  Result<std::string> open(const std::string& disk_id, const std::string& owner,
                           std::stop_token stop);

  // The transfer when it is ready; nothing while it starts. Unavailable when it failed (a new one
  // may succeed): it has been cancelled then, or is gone.
  Result<std::optional<ImageTransfer>> poll(const std::string& id, std::stop_token stop);

  // Extends or resumes it. PermissionDenied with VMF-XFER-TICKET-EXPIRED when it has ended;
  // Unavailable while it resumes.
  Result<ImageTransfer> renew(const std::string& id, std::stop_token stop);

  // Ends it: finalizes, or cancels where that is refused. True when it is gone and the disk is
  // free again; false: ask again later. An empty id stands for any of ours on `disk_id`.
  Result<bool> release(std::string id, const std::string& disk_id, std::stop_token stop);

 private:
  struct Memory {
    SteadyTime first_seen{};
    std::optional<SteadyTime> finalized = std::nullopt;
    int unknown_polls = 0;
  };

  Result<Disk> transferable_disk(const std::string& disk_id, std::stop_token stop);
  Result<std::optional<ImageTransfer>> find(const std::string& id, std::stop_token stop);
  Result<std::optional<ImageTransfer>> find_ours(const std::string& disk_id, std::stop_token stop);
  Result<std::string> create(const Disk& disk, const std::string& owner, std::stop_token stop);
  // An action without parameters; the answer may be a refusal.
  Result<Reply> act(const std::string& id, const std::string& action, std::stop_token stop);
  void cancel(const std::string& id, std::stop_token stop);
  Error failed(const ImageTransfer& transfer, std::stop_token stop);
  Result<bool> is_disk_free(const std::string& disk_id, std::stop_token stop);
  Result<bool> close(const ImageTransfer& transfer, std::stop_token stop);
  std::string host_name(const std::string& id, std::stop_token stop);
  bool is_out_of_patience(const std::string& id);
  bool is_unknown_too_often(const std::string& id);

  Client& client_;
  const Clock& clock_;
  const Logger log_;
  Guarded<std::map<std::string, Memory>> memory_;
};

}  // namespace vmferry::ovirt
