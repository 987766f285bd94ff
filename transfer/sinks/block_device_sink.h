#pragma once

#include <memory>
#include <string>

#include "common/fd.h"
#include "common/result.h"
#include "transfer/open_sink.h"

namespace vmferry {

// The block device that `device` (opened with O_PATH) stands for. At least options.size_bytes
// large (VMF-DST-TOO-SMALL); what is beyond is left alone, but for the rest of the last sector.
// Never initially zero: recycled and encrypted volumes return noise for unwritten blocks.
Result<std::unique_ptr<DiskSink>> open_block_device_sink(const SinkOptions& options,
                                                         const UniqueFd& device,
                                                         const std::string& shown);

}  // namespace vmferry
