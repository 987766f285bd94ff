#pragma once

#include <string>

#include "common/error.h"
#include "transfer/copy.h"

namespace vmferry::cli {

// The figures of one copy, for people ("\n" at the end of each line) and as one line of JSON with
// the keys bytes_virtual, bytes_data, bytes_zero, seconds, mib_per_second, cpu_seconds, digest,
// verified, source_digest_matched, repaired_offsets, resumed_bytes, retries, reconnects,
// last_error, requests, wire_bytes.
std::string copy_text(const CopyResult& result, double cpu_seconds);
std::string copy_json(const CopyResult& result, double cpu_seconds);
// One line of JSON about a copy that did not end well: {"error": {"code", "kind", "message"}}.
std::string copy_error_json(const Error& error);
// What a person is told who stopped a copy: whether the same command goes on, and from where.
// `last` is the copy's progress when it had ended.
std::string copy_stopped_text(bool has_journal, const CopyProgress& last);
// "copying   42%  1.2 GiB / 3.0 GiB  182.4 MiB/s  ETA 12 s".
std::string copy_progress_line(const CopyProgress& progress, double bytes_per_second);

}  // namespace vmferry::cli
