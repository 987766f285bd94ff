#pragma once

#include <memory>
#include <stop_token>

#include "common/result.h"
#include "transfer/disk_source.h"
#include "transfer/sources/recheck.h"

namespace vmferry {

// `source` with "content sample" as one more part of its identity: the sign of a changed disk for a
// source that has no better one, such as an NBD export, of which the protocol tells only the size.
// The sample is a digest of the disk's first and last 64 KiB, of the beginnings of its first data
// extents, where file systems keep what changes when they are used, and of places spread over the
// whole disk: at most 48 reads. A change between them goes unnoticed.
// They are also what is read again after a `doubt`: see with_recheck().
Result<std::unique_ptr<DiskSource>> with_fingerprint(std::unique_ptr<DiskSource> source,
                                                     Doubt doubt, std::stop_token stop);

// `source` with an identity that it never had before and will never have again: nothing tells
// whether its content is still the same, so that no copy of it may be gone on with.
std::unique_ptr<DiskSource> never_the_same(std::unique_ptr<DiskSource> source);

}  // namespace vmferry
