#include "coordinator/provider/ovirt/image_transfer.h"

#include "common/catalogue.h"
#include "coordinator/provider/ovirt/translate.h"

namespace vmferry::ovirt {
namespace {

constexpr std::size_t kMaxCorrelation = 50;

std::string path_of(const std::string& id) { return "/imagetransfers/" + url_encode(id); }

Error disk_locked(const Disk& disk, std::string_view why) {
  return coded_error(ErrorKind::Unavailable, code::kDiskLocked, "disk '{}': {}", disk.alias, why);
}

}  // namespace

PhaseGroup phase_group(std::string_view phase) {
  if (phase == "initializing" || phase == "resuming") return PhaseGroup::Starting;
  if (phase == "transferring") return PhaseGroup::Ready;
  if (phase == "paused_system" || phase == "paused_user") return PhaseGroup::Paused;
  if (phase.starts_with("finalizing_")) return PhaseGroup::Finalizing;
  if (phase.starts_with("finished_") || phase.starts_with("cancelled")) return PhaseGroup::Ended;
  return PhaseGroup::Unknown;
}

bool is_ours(const ImageTransfer& transfer, const std::string& disk_id) {
  const PhaseGroup group = phase_group(transfer.phase);
  // The engine shows neither who made a transfer nor its correlation id, so the settings that we
  // give each of ours are the mark. Engines that do not show these have nobody else's either way.
  return transfer.disk_id == disk_id && transfer.direction == "download" &&
         (transfer.format.empty() || transfer.format == "raw") &&
         transfer.inactivity_timeout.value_or(kInactivitySeconds) == kInactivitySeconds &&
         transfer.timeout_policy.value_or("cancel") == "cancel" && group != PhaseGroup::Ended;
}

std::string correlation_of(const std::string& owner) {
  std::string result = "vmferry-" + owner;
  if (result.size() > kMaxCorrelation) result.resize(kMaxCorrelation);
  return result;
}

Result<Disk> ImageTransfers::transferable_disk(const WantedDisk& wanted, std::stop_token stop) {
  const std::string& disk_id = wanted.id;
  const Reply reply = TRY(client_.get("/disks/" + url_encode(disk_id), stop));
  if (reply.status == 404) {
    return coded_error(ErrorKind::NotFound, code::kDiskMissing,
                       "the engine has no disk with id '{}'", disk_id);
  }
  if (!reply.ok()) return reply.error(fmt::format("reading disk '{}'", disk_id));
  Disk disk = parse_disk(reply.body.root());
  disk.id = disk_id;
  const std::string why = why_not_transferable(disk);
  if (!why.empty()) {
    return coded_error(ErrorKind::InvalidArgument, code::kDiskUnsupported,
                       "disk '{}' cannot be transferred: {}", disk.alias, why);
  }
  if (wanted.size_bytes != 0 && disk.provisioned_size != wanted.size_bytes) {
    return coded_error(ErrorKind::DataLoss, code::kSourceChanged,
                       "disk '{}' had {} bytes when the import was planned and has {} now",
                       disk.alias, wanted.size_bytes, disk.provisioned_size.value_or(0));
  }
  return disk;
}

Result<std::string> ImageTransfers::open(const WantedDisk& wanted, const std::string& owner,
                                         std::stop_token stop) {
  std::string id = TRY(obtain(wanted, "", owner, stop));
  memory_.opened(id, owner);
  return id;
}

// The id of a transfer of that disk for this handle (empty: for a new one).
Result<std::string> ImageTransfers::obtain(const WantedDisk& wanted, const std::string& handle,
                                           const std::string& owner, std::stop_token stop) {
  const Disk disk = TRY(transferable_disk(wanted, stop));
  // Before anything else: our own transfer from before a crash is what locks the disk.
  const Ours before = TRY(find_ours(wanted.id, handle, owner, stop));
  if (before.mine) {
    if (phase_group(before.mine->phase) == PhaseGroup::Finalizing) {
      return disk_locked(disk, "an earlier transfer is being closed");
    }
    log_.info("image transfer adopted", {{"disk", wanted.id}, {"phase", before.mine->phase}});
    return before.mine->id;
  }
  if (before.taken) return disk_locked(disk, "another import reads it");
  if (disk.status.value_or("ok") != "ok") {
    return disk_locked(disk, fmt::format("its status is '{}'", *disk.status));
  }
  Result<std::string> created = create(disk, owner, stop);
  const bool is_lost = !created && created.error().code() == code::kSourceUnreachable;
  if (!is_lost) return created;
  // The engine may have carried out the request though its answer is lost (source-ovirt.md 3.2).
  const Result<Ours> after = find_ours(wanted.id, handle, owner, stop);
  if (after && after->mine) return after->mine->id;
  return created;
}

Result<std::string> ImageTransfers::create(const Disk& disk, const std::string& owner,
                                           std::stop_token stop) {
  // Without a direction it would be an upload; without raw, a qcow2 file's bytes.
  const std::string body = fmt::format(
      "<image_transfer><disk id=\"{}\"/><direction>download</direction><format>raw</format>"
      "<inactivity_timeout>{}</inactivity_timeout><timeout_policy>cancel</timeout_policy>"
      "</image_transfer>",
      xml_escape(disk.id), kInactivitySeconds);
  const Reply reply = TRY(client_.post("/imagetransfers", body, correlation_of(owner), stop));
  if (!reply.ok()) {
    const std::string what = fmt::format("opening disk '{}'", disk.alias);
    if (reply.status == 409 && !reply.is_busy()) {
      const std::string words = reply.fault.value_or("");
      if (words.find("down") != std::string::npos) {
        return coded_error(ErrorKind::Unavailable, code::kVmState, "{}: {}", what, words);
      }
      const bool missing = words.find("does not exist") != std::string::npos;
      return coded_error(missing ? ErrorKind::NotFound : ErrorKind::InvalidArgument,
                         missing ? code::kDiskMissing : code::kDiskUnsupported, "{}: {}", what,
                         words);
    }
    return reply.error(what);
  }
  const ImageTransfer transfer = parse_image_transfer(reply.body.root());
  if (transfer.id.empty()) {
    return coded_error(ErrorKind::InvalidArgument, code::kSourceProtocol,
                       "opening disk '{}': the engine's answer names no transfer", disk.alias);
  }
  return transfer.id;
}

Result<std::optional<ImageTransfer>> ImageTransfers::find(const std::string& id,
                                                          std::stop_token stop) {
  const Reply reply = TRY(client_.get(path_of(id), stop));
  if (reply.status == 404) return std::optional<ImageTransfer>();
  if (!reply.ok()) return reply.error("reading an image transfer");
  ImageTransfer transfer = parse_image_transfer(reply.body.root());
  if (transfer.id != id) return std::optional<ImageTransfer>();  // some other tree
  return std::optional<ImageTransfer>(std::move(transfer));
}

Result<ImageTransfers::Ours> ImageTransfers::find_ours(const std::string& disk_id,
                                                       const std::string& handle,
                                                       const std::string& owner,
                                                       std::stop_token stop) {
  Ours result;
  if (disk_id.empty()) return result;
  const Document list = TRY(client_.fetch("/imagetransfers", stop));
  std::optional<ImageTransfer> closing;
  for (const Element& each : list.root().children("image_transfer")) {
    ImageTransfer transfer = parse_image_transfer(each);
    if (!is_ours(transfer, disk_id)) continue;
    if (memory_.is_taken(transfer.id, handle, owner)) {
      result.taken = true;
    } else if (phase_group(transfer.phase) == PhaseGroup::Finalizing) {
      closing = std::move(transfer);
    } else if (!result.mine) {
      result.mine = std::move(transfer);
    }
  }
  if (!result.mine) result.mine = std::move(closing);
  return result;
}

Result<Reply> ImageTransfers::act(const std::string& id, const std::string& action,
                                  std::stop_token stop) {
  return client_.post(path_of(id) + "/" + action, "<action/>", "", stop);
}

void ImageTransfers::cancel(const std::string& id, std::stop_token stop) {
  const Result<Reply> reply = act(id, "cancel", stop);
  if (!reply) {
    log_.warn("image transfer could not be cancelled", reply.error());
  } else if (!reply->ok() && reply->status != 404) {
    log_.warn("image transfer could not be cancelled", reply->error("cancel"));
  }
}

std::string ImageTransfers::host_name(const std::string& id, std::stop_token stop) {
  if (id.empty()) return "unknown";
  const Result<Document> host = client_.fetch("/hosts/" + url_encode(id), stop);
  const std::string name = host ? host->root().text_or("name", "") : std::string();
  return name.empty() ? id : name;
}

// Cancels what failed to start, so that the disk is free for another try.
Error ImageTransfers::failed(const ImageTransfer& transfer, std::stop_token stop) {
  const std::string host = host_name(transfer.host_id, stop);
  if (phase_group(transfer.phase) != PhaseGroup::Ended &&
      phase_group(transfer.phase) != PhaseGroup::Finalizing) {
    cancel(transfer.id, stop);
  }
  return coded_error(ErrorKind::Unavailable, code::kSourceRead,
                     "image transfer {} did not become ready: it is '{}' on host '{}'", transfer.id,
                     transfer.phase, host);
}

Result<std::optional<ImageTransfer>> ImageTransfers::poll(const std::string& handle,
                                                          const std::string& disk_id,
                                                          std::stop_token stop) {
  std::optional<ImageTransfer> transfer = TRY(find(memory_.current(handle), stop));
  if (!transfer || phase_group(transfer->phase) == PhaseGroup::Ended) {
    // It was replaced before a restart of ours, which forgot that.
    Ours ours = TRY(find_ours(disk_id, handle, "", stop));
    if (ours.mine && phase_group(ours.mine->phase) != PhaseGroup::Finalizing) {
      memory_.replace(handle, ours.mine->id);
      transfer = std::move(ours.mine);
    }
  }
  if (!transfer) {
    return coded_error(ErrorKind::Unavailable, code::kSourceRead,
                       "image transfer {} is gone; somebody cancelled it", handle);
  }
  switch (phase_group(transfer->phase)) {
    case PhaseGroup::Ready:
      if (!transfer->transfer_url.empty() || !transfer->proxy_url.empty()) return transfer;
      [[fallthrough]];  // it names no URL yet
    case PhaseGroup::Starting:
      if (memory_.may_wait(transfer->id)) return std::optional<ImageTransfer>();
      return failed(*transfer, stop);
    case PhaseGroup::Unknown:
      if (memory_.may_be_unknown(transfer->id)) return std::optional<ImageTransfer>();
      return failed(*transfer, stop);
    case PhaseGroup::Paused:
    case PhaseGroup::Finalizing:
    case PhaseGroup::Ended:
      break;
  }
  return failed(*transfer, stop);
}

Result<bool> ImageTransfers::is_disk_free(const std::string& disk_id, std::stop_token stop) {
  if (disk_id.empty()) return true;
  const Reply reply = TRY(client_.get("/disks/" + url_encode(disk_id), stop));
  if (reply.status == 404) {
    return coded_error(ErrorKind::NotFound, code::kDiskMissing,
                       "after its transfer the engine has no disk with id '{}'", disk_id);
  }
  if (!reply.ok()) return reply.error(fmt::format("reading disk '{}'", disk_id));
  const std::string status = parse_disk(reply.body.root()).status.value_or("ok");
  if (status == "illegal") {
    return coded_error(ErrorKind::DataLoss, code::kDiskUnsupported,
                       "after its transfer disk '{}' is 'illegal' on the source", disk_id);
  }
  return status == "ok";
}

Result<bool> ImageTransfers::release(const std::string& handle, const std::string& disk_id,
                                     const std::string& owner, std::stop_token stop) {
  std::optional<ImageTransfer> transfer;
  if (!handle.empty()) memory_.closing(handle);
  if (!handle.empty()) transfer = TRY(find(memory_.current(handle), stop));
  // Engines before 4.4.7 forget a transfer as soon as it has ended.
  if (transfer && phase_group(transfer->phase) != PhaseGroup::Ended) return close(*transfer, stop);
  // Also what replaced it before a restart of ours, or was made though the answer was lost.
  const Ours ours = TRY(find_ours(disk_id, handle, handle.empty() ? owner : "", stop));
  if (ours.mine) return close(*ours.mine, stop);
  if (ours.taken || (handle.empty() && disk_id.empty())) {
    memory_.forget(handle);
    return true;
  }
  const std::string disk = transfer && !transfer->disk_id.empty() ? transfer->disk_id : disk_id;
  // Whoever locks a disk that we never opened keeps it.
  const Result<bool> free = handle.empty() ? Result<bool>(true) : is_disk_free(disk, stop);
  if (!free || *free) memory_.forget(handle);
  return free;
}

// A download can always be finalized; where the engine refuses that, or nothing has started or
// goes on, cancelling frees the disk as well (source-ovirt.md 3.7).
Result<bool> ImageTransfers::close(const ImageTransfer& transfer, std::stop_token stop) {
  const std::string& id = transfer.id;
  const PhaseGroup group = phase_group(transfer.phase);
  if (group == PhaseGroup::Finalizing) return false;
  if (group == PhaseGroup::Ready || transfer.phase == "resuming") {
    if (!memory_.may_finalize(id)) return false;
    const Result<Reply> reply = act(id, "finalize", stop);
    if (reply && (reply->ok() || reply->status == 404)) return false;
    memory_.finalize_failed(id);
    if (!reply) return reply.error();
    if (reply->status >= 500) return reply->error("finalizing an image transfer");
    log_.info("finalize refused, cancelling", {{"phase", transfer.phase}});
  }
  const Reply reply = TRY(act(id, "cancel", stop));
  if (!reply.ok() && reply.status != 404 && reply.status != 409) {
    return reply.error("cancelling an image transfer");
  }
  return false;
}

}  // namespace vmferry::ovirt
