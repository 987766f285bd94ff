#pragma once

#include <memory>
#include <optional>
#include <string>

#include "coordinator/imports/pass.h"

// The source's end of a disk's transfer: opened with the intent in the ledger first, checked to be
// still what was begun to be copied, released exactly once.
namespace vmferry::imports {

// Whether the way of a VMware disk has still to be chosen before it can be opened (choose_way()).
// What is wrong with the import's own wish is told by opened().
bool way_is_open(Pass& pass, const SourceDisk& disk);

// The disk made readable: from the user's override, or by the provider. Nothing: not yet, or its
// way is not chosen yet. The result lives in pass.memory until the disk is done or opened anew.
Result<OpenedDisk*> opened(Pass& pass, const SourceDisk& disk);

// Who is to be asked about an opening: whoever made it, if it is an export lease, else whoever the
// secret names now. Null when that one is not connected to.
std::shared_ptr<Provider> opener_of(const Pass& pass, const std::string& handle);

// A transfer waits for another attempt: a VMware disk is opened anew for it. Its VM may be on
// another host by now or not be off any more, and an export stream is read but once.
void reopen_for_attempt(Pass& pass, const SourceDisk& disk, protocol::Attempt attempt);

// Compares what identifies the disk's content with what was written down when its copying began, in
// another life of this process perhaps, while somebody may have started the VM and stopped it
// again. Done: the same, or written down now. Again: it is another content, and the transfer of the
// old one is being ended; it starts over. Failed: another disk of the VM is done already, so the
// copies would fit no moment.
Result<StepResult> check_identity(Pass& pass, const PlannedDisk& planned, const SourceDisk& disk,
                                  const SourceIdentityText& identity);
// The same for a transfer that ended while nobody looked. Once per process.
Result<StepResult> check_finished(Pass& pass, const PlannedDisk& planned, const SourceDisk& disk);

// Keeps an opening from running out, and lets the source know how far the disk is, where it must
// hear of it.
void tell_progress(Pass& pass, const SourceDisk& disk, std::uint64_t moved, std::uint64_t to_move);

// A disk has succeeded: ends its opening, unless another disk still needs the same one. True when
// it is gone or not its business any more.
Result<bool> release_settled(Pass& pass, const std::string& source_disk_id);

// The same for a disk whose end was written already, and its entry in the ledger: whoever died
// before crossing that off may have left open what the disk shared with others. Costs nothing when
// there is no entry.
Result<bool> release_done(Pass& pass, const std::string& source_disk_id);

// Ends what the ledger says is open at the source for this disk; true when it is gone. A disk that
// has vanished or is illegal by now has nothing left to end.
Result<bool> release_opening(Pass& pass, const std::string& source_disk_id, bool success);

// How a disk's bytes are read, for people.
std::string describe(const DiskEndpoint& endpoint);

}  // namespace vmferry::imports
