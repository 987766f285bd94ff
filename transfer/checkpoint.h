#pragma once

#include <cstdint>
#include <stop_token>
#include <vector>

#include "common/result.h"
#include "transfer/copy_state.h"

namespace vmferry {

// Flushes the sink; after one failure it fails for good.
Result<void> flush_target(CopyState& state);

// Records `chunks` with their leaves. Only for chunks that a flush has made durable.
Result<void> record_chunks(CopyState& state, const std::vector<std::uint64_t>& chunks);

// `chunks` hold something else than was recorded: the journal forgets them.
Result<void> forget_chunks(CopyState& state, const std::vector<std::uint64_t>& chunks);

// The source has changed: no later attempt believes anything that was recorded.
Result<void> invalidate_journal(CopyState& state);

// The whole disk is copied and verified.
Result<void> complete_journal(CopyState& state);

// Makes what is done durable and records it: snapshot of done chunks, sink flush, journal. The
// journal advances only behind a successful flush, so a crash between any two steps costs nothing
// but work. One thread at a time.
Result<void> save_checkpoint(CopyState& state);

// Saves a checkpoint every options.checkpoint_every or options.checkpoint_bytes until stopped, the
// first ones sooner, so that a copy that has only begun can be gone on with as well; the body of
// the checkpoint thread. Without a journal there is nothing to save.
Result<void> run_checkpoints(CopyState& state, std::stop_token stop);

}  // namespace vmferry
