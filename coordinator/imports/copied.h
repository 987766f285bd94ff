#pragma once

#include "coordinator/imports/pass.h"

namespace vmferry::imports {

// Every disk that was planned is copied, and nothing is open at the source any more: what is left
// to do concerns the cluster alone, whether the source answers or not.
bool is_copied(const Pass& pass);

// Whether any of the source has been read: a disk is done, or an agent began with it.
bool was_read(const Pass& pass);

// The source VM was started while its disks only waited to be copied: takes back what was made
// ready for that, so that it can be shut down anew. Again: it is not over yet.
Result<StepResult> unready_disks(Pass& pass);

}  // namespace vmferry::imports
