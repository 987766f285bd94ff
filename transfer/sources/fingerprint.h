#pragma once

#include <memory>
#include <stop_token>
#include <string>

#include "common/result.h"
#include "transfer/disk_source.h"

namespace vmferry {

// A digest of samples of the disk: of its first and last 64 KiB, of the beginnings of its first
// data extents, where file systems keep what changes when they are used, and of places spread over
// the whole disk; always the same places for the same size and extents. At most 48 reads.
Result<std::string> sample_digest(DiskSource& source, std::stop_token stop);

// `source` with "content sample" as one more part of its identity: the sign of a changed disk for a
// source that has no better one, such as an NBD export, of which the protocol tells only the size.
// A change between the samples goes unnoticed.
Result<std::unique_ptr<DiskSource>> with_fingerprint(std::unique_ptr<DiskSource> source,
                                                     std::stop_token stop);

}  // namespace vmferry
