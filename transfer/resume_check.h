#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "transfer/digest.h"
#include "transfer/disk_sink.h"
#include "transfer/journal.h"

namespace vmferry {

// Whether a target of `size_bytes` still holds what a journal says is durable on it: a few chunks
// with data are read back. A file has a mark that changes with its content's origin; a block device
// has none, and often no name that another device could not have. Another disk differs nearly
// everywhere, so one chunk that rotted does not count: verification finds and repairs that.
// `chunks` is sorted. Internal when the crypto library fails, ResourceExhausted without memory.
Result<bool> holds_what_is_recorded(DiskSink& sink, const std::vector<DurableChunk>& chunks,
                                    HashAlgorithm hash, std::uint64_t size_bytes);

}  // namespace vmferry
