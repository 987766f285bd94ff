#pragma once

#include "common/result.h"
#include "transfer/copy_state.h"

namespace vmferry {

// Plans and copies the whole disk with blocking workers, one per buffer of `state`. Returns when
// all threads have ended. The first error of any thread is in state.failure; what was written
// until then is marked in state.done.
void copy_all_chunks(CopyState& state);

// Copies the chunk at `index` again, as a repair: whole, whatever the extents said. DataLoss with
// VMF-SRC-CHANGED, and nothing written, when the source gives other bytes than its leaf is of.
Result<void> copy_chunk_again(CopyState& state, std::uint64_t index, LeafHasher& hasher,
                              const AlignedBuffer& buffer, std::stop_token stop);

}  // namespace vmferry
