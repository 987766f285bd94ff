#pragma once

#include "common/result.h"
#include "transfer/copy_state.h"

namespace vmferry {

// Reads the flushed target back, past the page cache, and compares every chunk with the leaf that
// was computed when it was received. Zero chunks within the sink's known zero ranges are accepted
// unread. Chunks that differ are copied once more, flushed and compared again; what still differs
// is DataLoss with VMF-XFER-VERIFY-FAILED and the first offsets. `stop`: Canceled.
Result<void> verify_target(CopyState& state, std::stop_token stop);

}  // namespace vmferry
