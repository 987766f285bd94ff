#pragma once

#include <stop_token>

#include "transfer/copy_state.h"

namespace vmferry {

// The transfer's counters as one value.
CopyProgress progress_of(const CopyState& state);

// Publishes progress five times a second and ends the transfer with VMF-XFER-STALLED when a thread
// is inside the source and no byte has come for options.stall_limit; the body of the watch thread.
void run_watch(CopyState& state, CopyMonitor& monitor, std::stop_token stop);

}  // namespace vmferry
