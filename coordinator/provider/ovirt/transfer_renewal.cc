#include "common/catalogue.h"
#include "coordinator/provider/ovirt/image_transfer.h"

// What to do about a transfer whose ticket a host refuses while its disk is copied
// (source-ovirt.md 3.3, 3.6, 4.5). Each call takes one step; "Unavailable" asks for the next.
namespace vmferry::ovirt {
namespace {

Error not_yet(const ImageTransfer& transfer, std::string_view why) {
  return coded_error(ErrorKind::Unavailable, code::kSourceRead, "image transfer {}: {}",
                     transfer.id, why);
}

}  // namespace

Result<ImageTransfer> ImageTransfers::renew(const std::string& handle, const WantedDisk& wanted,
                                            std::stop_token stop) {
  const std::optional<ImageTransfer> transfer = TRY(find(memory_.current(handle), stop));
  if (!transfer) return restart(handle, wanted, "it is gone", stop);
  switch (phase_group(transfer->phase)) {
    case PhaseGroup::Ready:
      return extend(*transfer, stop);
    case PhaseGroup::Paused:
      return resume(*transfer, stop);
    case PhaseGroup::Starting:
      if (memory_.may_wait(transfer->id)) return not_yet(*transfer, "it is being resumed");
      return give_up(*transfer, "it does not start", stop);
    case PhaseGroup::Unknown:
      if (memory_.may_be_unknown(transfer->id)) return not_yet(*transfer, "its phase is unknown");
      return give_up(*transfer, "its phase is unknown", stop);
    case PhaseGroup::Finalizing:
      return not_yet(*transfer, "it is being closed");
    case PhaseGroup::Ended:
      break;
  }
  return restart(handle, wanted, fmt::format("it is '{}'", transfer->phase), stop);
}

void ImageTransfers::keep_alive(const std::string& handle, std::stop_token stop) {
  const std::string id = memory_.current(handle);
  if (!memory_.is_extension_due(id)) return;
  const Result<Reply> reply = act(id, "extend", stop);
  if (!reply) {
    log_.warn("image transfer could not be extended", reply.error(), {{"transfer", id}});
  } else if (!reply->ok()) {
    log_.debug("image transfer could not be extended", {{"transfer", id}});  // paused, or ended
  }
}

Result<ImageTransfer> ImageTransfers::extend(const ImageTransfer& transfer, std::stop_token stop) {
  switch (memory_.extension(transfer.id)) {
    case TransferMemory::Extension::Fresh:
      break;
    case TransferMemory::Extension::Waiting:
      return not_yet(transfer,
                     "it was extended, and the engine has yet to see that the host lost it");
    case TransferMemory::Extension::Vain:
      return give_up(transfer, "its host refuses it", stop);
  }
  const Reply reply = TRY(act(transfer.id, "extend", stop));
  if (reply.ok()) {
    memory_.extended(transfer.id);
    return transfer;
  }
  if (reply.status == 404 || reply.status == 409) {  // it has just left this phase
    return not_yet(transfer, reply.fault.value_or("the engine does not extend it"));
  }
  return reply.error("extending an image transfer");
}

// Each resume changes the URL: the next call reads it.
Error ImageTransfers::resume(const ImageTransfer& transfer, std::stop_token stop) {
  if (!memory_.may_resume(transfer.id)) {
    return give_up(transfer, fmt::format("it is '{}' again and again", transfer.phase), stop);
  }
  log_.warn("image transfer is resumed", {{"disk", transfer.disk_id}, {"phase", transfer.phase}});
  const Result<Reply> reply = act(transfer.id, "resume", stop);
  if (!reply) return reply.error();
  if (!reply->ok() && reply->status != 409) return reply->error("resuming an image transfer");
  return not_yet(transfer, "it is being resumed");
}

// Ends it; the call that finds it ended opens another one.
Error ImageTransfers::give_up(const ImageTransfer& transfer, std::string_view why,
                              std::stop_token stop) {
  log_.warn("image transfer is given up",
            {{"disk", transfer.disk_id}, {"reason", std::string(why)}});
  cancel(transfer.id, stop);
  return not_yet(transfer, fmt::format("{}; it is cancelled and will be opened anew", why));
}

Error ImageTransfers::restart(const std::string& handle, const WantedDisk& wanted,
                              std::string_view why, std::stop_token stop) {
  const std::string old = memory_.current(handle);
  const auto ended = [&] {
    return coded_error(ErrorKind::PermissionDenied, code::kTicketExpired,
                       "image transfer {} has ended: {}", old, why);
  };
  if (memory_.is_closing(handle)) return ended();
  if (!memory_.may_restart(handle)) return ended();
  const Result<std::string> fresh = obtain(wanted, handle, "", stop);
  if (!fresh) {
    memory_.not_restarted(handle);
    return fresh.error();
  }
  if (memory_.is_closing(handle)) {  // since a moment ago
    cancel(*fresh, stop);
    return ended();
  }
  memory_.replace(handle, *fresh);
  log_.warn("image transfer is opened anew", {{"disk", wanted.id}, {"reason", std::string(why)}});
  return coded_error(ErrorKind::Unavailable, code::kSourceRead,
                     "image transfer {}: {}; it was opened anew", old, why);
}

}  // namespace vmferry::ovirt
