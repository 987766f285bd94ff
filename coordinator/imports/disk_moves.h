#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "coordinator/imports/pass.h"

namespace vmferry::imports {

// What the disks of one import add up to.
struct MoveTotals {
  std::size_t disks = 0, done = 0, verifying = 0, waiting = 0;
  std::size_t active = 0;  // being copied or verified
  std::uint64_t moved_bytes = 0, to_move_bytes = 0;
  double bytes_per_second = 0;
  std::string waiting_for;  // why the first waiting disk waits
  // Nobody would tell when it goes on: the source opens a disk, a finished one is let go of. What
  // agents and the cluster do is told.
  bool unannounced = false;
};

// One sentence for the condition: "Copying disks: 1 of 3 done, 1.2 GiB of 3.0 GiB".
std::string describe(const MoveTotals& totals);

// A transfer that has failed for good ends its import, also while the source has no turn for it.
std::optional<StepResult> failed_transfer(const Pass& pass);

// Puts into the status how far the transfers are, without a word to the source. No disk is counted
// that was not moved before.
MoveTotals show_transfers(Pass& pass);

// Takes the plan's disk number `index` one step further: open it at the source, queue its transfer,
// follow it, release both ends. Done when its bytes are verified on the target; else Again.
Result<StepResult> move_disk(Pass& pass, std::size_t index, MoveTotals& totals);

}  // namespace vmferry::imports
